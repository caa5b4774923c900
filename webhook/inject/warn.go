package inject

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

// warnAboutRisks says what is legal and may still be a mistake.
func (b *builder) warnAboutRisks() {
	data := volume(b.pod, b.dataVolume()).EmptyDir
	limit := contract.AnnotationPrefix + contract.SizeLimit
	if b.Settings.Volume != "" {
		limit = "sizeLimit of volume " + b.Settings.Volume
	}
	switch {
	case data.Medium == corev1.StorageMediumMemory:
		b.warnAboutMemory(data, limit)
	case data.SizeLimit == nil:
		b.warn("the volume has no size limit and may fill the node's disk; set " + limit)
	}
	if data.Medium != corev1.StorageMediumMemory {
		b.warnAboutEphemeralStorage(data)
	}
	if b.pod.Spec.ShareProcessNamespace != nil && *b.pod.Spec.ShareProcessNamespace {
		b.warn("the pod's containers share their processes (shareProcessNamespace): the app can read the store's credentials through /proc")
	}
	if len(b.mounted) == 0 {
		b.warn(fmt.Sprintf("no container mounts volume %q: nothing can be read from it or written to it", b.dataVolume()))
	}
	b.warnAboutMesh()
	b.warnAboutDatabase()
	b.warnAboutQoS()
}

// warnAboutMemory: who writes to such a volume is charged for it, and a restore
// writes all of it.
func (b *builder) warnAboutMemory(data *corev1.EmptyDirVolumeSource, limit string) {
	const charged = "what it holds counts against the memory limits of the containers that write it"
	if data.SizeLimit == nil {
		b.warn("the volume is in memory without a size limit: " + charged + "; set " + limit)
	} else {
		b.warn("the volume is in memory: " + charged)
	}
	b.warn("the volume is in memory, where what is written through a memory mapping is not noticed")
	memory := b.resources().Limits[corev1.ResourceMemory]
	if !memory.IsZero() && data.SizeLimit != nil && data.SizeLimit.Cmp(memory) >= 0 {
		b.warn(fmt.Sprintf("the volume in memory may grow to %s, but a restore of so much is killed at the sidecar's memory limit of %s: raise %s%s",
			data.SizeLimit, &memory, contract.AnnotationPrefix, contract.MemoryLimit))
	}
}

// warnAboutEphemeralStorage: the kubelet compares all that a pod has on the
// node's disk, emptyDirs included, with the sum of its containers' limits.
func (b *builder) warnAboutEphemeralStorage(data *corev1.EmptyDirVolumeSource) {
	var sum resource.Quantity
	for _, c := range containers(b.pod) {
		if !isInit(b.pod, c.Name) || isNative(c) {
			sum.Add(c.Resources.Limits[corev1.ResourceEphemeralStorage])
		}
	}
	if sum.IsZero() || data.SizeLimit != nil && data.SizeLimit.Cmp(sum) < 0 {
		return
	}
	b.warn(fmt.Sprintf("the volume counts against the containers' limits of ephemeral-storage, %s in all: "+
		"the kubelet evicts the pod when it holds more", &sum))
}

// warnAboutDatabase knows only the pod: a Deployment rolls unless its author
// chose Recreate, and then two pods of it write at the same time.
func (b *builder) warnAboutDatabase() {
	rolls := b.Workload.Kind == settings.Deployment || b.Workload.Kind == "Rollout"
	if b.Settings.Mode != contract.ModeShared || !rolls {
		return
	}
	for _, c := range b.mounted {
		if name := database(c); name != "" {
			b.warn(fmt.Sprintf("container %q looks like a database (%s): use strategy Recreate and one replica, or two pods write the same files while the Deployment rolls", c.Name, name))
			return
		}
	}
}

// database guesses which database a container runs, or returns "".
func database(c *corev1.Container) string {
	image, _, _ := strings.Cut(path.Base(c.Image), "@")
	image, _, _ = strings.Cut(image, ":")
	for _, name := range []string{
		"cassandra", "clickhouse", "cockroach", "couchdb", "elasticsearch", "etcd", "influxdb", "mariadb",
		"mongo", "mysql", "neo4j", "opensearch", "percona", "postgis", "postgres", "prometheus", "redis",
		"timescaledb", "valkey", "victoria-metrics",
	} {
		if strings.HasPrefix(image, name) && !strings.Contains(image, "exporter") {
			return name
		}
	}
	ports := map[int32]string{
		3306: "MySQL's port", 5432: "PostgreSQL's port", 6379: "Redis' port", 27017: "MongoDB's port", 9042: "Cassandra's port",
	}
	for _, p := range c.Ports {
		if name, found := ports[p.ContainerPort]; found {
			return name
		}
	}
	return ""
}

// warnAboutQoS notices a Guaranteed pod that our containers make Burstable,
// which costs it exclusive CPUs and its place in the order of eviction.
func (b *builder) warnAboutQoS() {
	guaranteed := func(ours bool) bool {
		return !slices.ContainsFunc(containers(b.pod), func(c *corev1.Container) bool {
			return isOurs(c.Name) == ours && !isGuaranteed(c.Resources)
		})
	}
	if b.pod.Spec.Resources == nil && guaranteed(false) && !guaranteed(true) {
		b.warn("the pod was of QoS class Guaranteed and becomes Burstable; equal " + contract.AnnotationPrefix +
			"cpu-request and cpu-limit, memory-request and memory-limit keep it Guaranteed")
	}
}

func isGuaranteed(r corev1.ResourceRequirements) bool {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		limit, limited := r.Limits[name]
		request, requested := r.Requests[name]
		if !limited || limit.IsZero() || requested && request.Cmp(limit) != 0 {
			return false
		}
	}
	return true
}
