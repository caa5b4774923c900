package inject

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

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
	case data.Medium == corev1.StorageMediumMemory && data.SizeLimit == nil:
		b.warn("the volume is in memory without a size limit: what it holds counts against the containers' memory limits; set " + limit)
	case data.Medium == corev1.StorageMediumMemory:
		b.warn("the volume is in memory: what it holds counts against the containers' memory limits")
	case data.SizeLimit == nil:
		b.warn("the volume has no size limit and may fill the node's disk; set " + limit)
	}
	if len(b.mounted) == 0 {
		b.warn(fmt.Sprintf("no container mounts volume %q: nothing can be read from it or written to it", b.dataVolume()))
	}
	b.warnAboutMesh()
	b.warnAboutDatabase()
	b.warnAboutQoS()
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
