package inject

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

// The syncer's commands that run in a pod.
const (
	commandRestore = "restore"
	commandSync    = "sync"
	commandStatus  = "status"
)

// podIndexLabel is what StatefulSets number their pods with.
const podIndexLabel = "apps.kubernetes.io/pod-index"

// startupSeconds is how long sync may take to watch the whole volume before it
// is started anew. Only then do the app's own containers start.
const startupSeconds = 600

// reportAfter is how long a restore tries to reach its store before it ends
// once, to say that it cannot. Stores that restart are mostly back by then.
const reportAfter = 20 * time.Second

// addContainers puts restore first (but behind what connects the pod) and sync
// right behind it (or, as an ordinary container, last), so that the app's own
// init containers already see the files and are already watched.
func (b *builder) addContainers() error {
	user, err := b.chooseUser()
	if err != nil {
		return err
	}
	spec := &b.pod.Spec
	if err := b.choosePort(); err != nil {
		return err
	}

	if find(b.pod, contract.RestoreContainer) == nil {
		restore := b.container(contract.RestoreContainer, commandRestore, user)
		// Only what a container says at its end can be seen by kubectl describe;
		// where it is not started again, its end would be the pod's.
		if spec.RestartPolicy != corev1.RestartPolicyNever {
			restore.Env = append(restore.Env, corev1.EnvVar{Name: contract.EnvName(contract.FlagReportAfter), Value: reportAfter.String()})
		}
		spec.InitContainers = slices.Insert(spec.InitContainers, b.placeOfRestore(), restore)
	}
	if kept := find(b.pod, contract.SyncContainer); kept != nil {
		return b.checkFlushTime(kept)
	}
	sync := b.container(contract.SyncContainer, commandSync, user)
	b.exposeMetrics(&sync)
	if !b.native {
		b.stopWithApp(&sync)
		spec.Containers = append(spec.Containers, sync)
		return nil
	}
	always := corev1.ContainerRestartPolicyAlways
	sync.RestartPolicy = &always
	// The probe holds back the app until sync watches. There is no liveness
	// probe: a sync that waits for a store is healthy, and killing one that
	// uploads would only delay the upload. No readiness probe either: whether
	// the app can serve is not for us to say.
	sync.StartupProbe = &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{
			Exec: &corev1.ExecAction{Command: []string{contract.SyncerBinary, commandStatus}},
		},
		PeriodSeconds:    1,
		TimeoutSeconds:   5,
		FailureThreshold: startupSeconds,
	}
	after := slices.IndexFunc(spec.InitContainers, func(c corev1.Container) bool { return c.Name == contract.RestoreContainer })
	spec.InitContainers = slices.Insert(spec.InitContainers, after+1, sync)
	return nil
}

// stopWithApp tells a sync that is an ordinary container how to end. It gets
// SIGTERM together with the app, which may go on writing: so it has the whole
// grace period, less a moment to end by itself, and looks for quiet. Quiet for
// as long as the app's own grace would be certain and make each stop as long;
// ten seconds are a compromise.
func (b *builder) stopWithApp(sync *corev1.Container) {
	const quiet = 10 * time.Second
	for i := range sync.Env {
		if sync.Env[i].Name == contract.EnvName(contract.FlagFlushTimeout) {
			sync.Env[i].Value = b.wholeTime()
		}
	}
	sync.Env = append(sync.Env, corev1.EnvVar{Name: contract.EnvName(contract.FlagShutdownQuiet), Value: quiet.String()})
}

// wholeTime is the grace period less a moment, as a duration that the syncer takes.
func (b *builder) wholeTime() string {
	const most = int64(settings.MaxDuration / time.Second)
	whole := min(min(b.original, most)+b.flushSeconds(), most)
	return max(time.Duration(whole)*time.Second-time.Second, 0).String()
}

func (b *builder) container(name, command string, user *corev1.SecurityContext) corev1.Container {
	return corev1.Container{
		Name:            name,
		Image:           b.Settings.Image,
		ImagePullPolicy: b.Settings.ImagePullPolicy,
		Args:            []string{command},
		Env:             b.environment(),
		Resources:       b.resources(),
		VolumeMounts:    mounts(b.dataVolume()),
		SecurityContext: user,
	}
}

// resources of each container of ours. Where the pod has a budget for all of its
// containers together, what they take is part of that, and a default on top could
// exceed it, which would make the pod invalid.
func (b *builder) resources() corev1.ResourceRequirements {
	if b.pod.Spec.Resources != nil {
		return *b.Settings.OwnResources.DeepCopy()
	}
	return *b.Settings.Resources.DeepCopy()
}

// environment is the syncer's whole configuration.
func (b *builder) environment() []corev1.EnvVar {
	var env []corev1.EnvVar
	field := func(name, path string) {
		env = append(env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
		}})
	}
	// Kubernetes fills in references only to what stands before them.
	if b.Settings.PrefixUses(contract.PodNameEnv) {
		field(contract.PodNameEnv, "metadata.name")
	}
	if b.Settings.PrefixUses(contract.OrdinalEnv) {
		field(contract.OrdinalEnv, "metadata.labels['"+podIndexLabel+"']")
	}
	for _, flag := range podFlags() {
		if value := flagValue(b.Settings, flag); value != "" {
			env = append(env, corev1.EnvVar{Name: contract.EnvName(flag), Value: value})
		}
	}
	return env
}

// podFlags are the settings that both containers are told.
func podFlags() []string {
	return []string{
		contract.FlagBucket, contract.FlagPrefix, contract.FlagEndpoint, contract.FlagRegion,
		contract.FlagPath, contract.FlagStateDir, contract.FlagCredentialsDir,
		contract.FlagMode, contract.FlagDelete, contract.FlagInclude, contract.FlagExclude,
		contract.FlagCreateBucket, contract.FlagRestoreAt, contract.FlagRestoreTimeout, contract.FlagFlushTimeout,
		contract.FlagScanInterval, contract.FlagBandwidthLimit, contract.FlagLogLevel,
	}
}

// flagValue is what the syncer is told, escaped for Kubernetes' own expansion
// of "$(NAME)"; empty: nothing, its default will do.
func flagValue(s settings.Settings, flag string) string {
	switch flag {
	case contract.FlagPrefix:
		return s.Prefix // escaped where it was expanded
	case contract.FlagPath:
		return contract.DataMountPath
	case contract.FlagStateDir:
		return contract.StateMountPath
	case contract.FlagCredentialsDir:
		return contract.CredentialsMountPath
	case contract.FlagEndpoint:
		return escape(s.Endpoint)
	case contract.FlagBandwidthLimit:
		// In bytes: Kubernetes knows more ways to write a quantity.
		if s.BandwidthLimit == 0 {
			return ""
		}
		return strconv.FormatInt(s.BandwidthLimit, 10)
	case contract.FlagInclude:
		return escape(strings.Join(s.Include, ","))
	case contract.FlagExclude:
		return escape(strings.Join(s.Exclude, ","))
	}
	return escape(s.Values[flag]) // all others have the annotation's name and form
}

func escape(value string) string { return strings.ReplaceAll(value, "$", "$$") }

func mounts(data string) []corev1.VolumeMount {
	return []corev1.VolumeMount{
		{Name: data, MountPath: contract.DataMountPath},
		{Name: contract.StateVolume, MountPath: contract.StateMountPath},
		{Name: contract.CredentialsVolume, MountPath: contract.CredentialsMountPath, ReadOnly: true},
	}
}

// choosePort finds a port for metrics that no container of the app declares,
// beginning at the one of the settings; where the pod itself names one, it is
// that or none. On the host's network there is none without being named: pods
// of one node would fight for it.
func (b *builder) choosePort() error {
	if sync := find(b.pod, contract.SyncContainer); sync != nil {
		for _, p := range sync.Ports {
			if p.Name == contract.MetricsPortName {
				b.port = p.ContainerPort
			}
		}
		return nil
	}
	wanted := b.Settings.MetricsPort
	if b.Settings.MetricsPortFixed || wanted == 0 {
		b.port = wanted
		return b.checkPort()
	}
	if b.pod.Spec.HostNetwork {
		b.warn("the pod uses the host's network, where its sidecar opens no port: there are no metrics of it, " +
			"and no POST /flush")
		return nil
	}
	taken := map[int32]bool{}
	for _, c := range containers(b.pod) {
		for _, p := range c.Ports {
			taken[p.ContainerPort] = true
		}
	}
	for b.port = wanted; taken[b.port]; {
		b.port = b.port%maxPort + 1
	}
	if b.port != wanted {
		b.warn(fmt.Sprintf("port %d belongs to the app: the sidecar serves its metrics on %d", wanted, b.port))
	}
	return nil
}

const maxPort = 1<<16 - 1

// checkPort refuses a port for metrics that a container of the app declares.
func (b *builder) checkPort() error {
	for _, c := range containers(b.pod) {
		for _, p := range c.Ports {
			if p.ContainerPort == b.port && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
				return refusal("%s%s names %d, which container %q declares as a port of its own: choose another one, or \"0\" for no metrics",
					contract.AnnotationPrefix, contract.MetricsPort, b.port, c.Name)
			}
		}
	}
	return nil
}

func (b *builder) exposeMetrics(sync *corev1.Container) {
	if b.port != 0 {
		port := corev1.ContainerPort{Name: contract.MetricsPortName, ContainerPort: b.port, Protocol: corev1.ProtocolTCP}
		if b.pod.Spec.HostNetwork {
			port.HostPort = b.port // so that no two pods that want it are put on one node
		}
		sync.Ports = []corev1.ContainerPort{port}
	}
	address := contract.MetricsAddress(int(b.port))
	sync.Env = append(sync.Env, corev1.EnvVar{Name: contract.EnvName(contract.FlagMetricsAddress), Value: address})
}
