// Package inject puts the sidecar into a pod. It is pure: the same pod and
// inputs give the same pod, and nothing is read, written or asked.
//
// The rule for a pod that already has some of what is added: what is missing is
// added, what is there is kept as it is (other webhooks rewrite images and add
// environment), and what is there but cannot work is refused. So injecting an
// injected pod changes nothing.
package inject

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

// Inputs are what the pod itself does not say.
type Inputs struct {
	Settings settings.Settings
	Workload settings.Workload
	Cluster  Cluster
	Version  string // of the webhook, for the status
}

// Cluster is what is known about the cluster's versions.
type Cluster struct {
	// NativeSidecars: the API server and every node run init containers with
	// restartPolicy Always.
	NativeSidecars bool
	// Reason names who does not; a clause, such as `node "a" runs v1.28.3`.
	Reason string
}

// Inject returns a copy of the pod with the sidecar in it, and warnings about
// what is legal but risky. An error is a [Refusal]: a sentence for the person
// who wrote the pod.
func Inject(pod *corev1.Pod, in Inputs) (*corev1.Pod, []string, error) {
	if err := refuse(pod, in); err != nil {
		return nil, nil, err
	}
	b := &builder{Inputs: in, pod: pod.DeepCopy(), before: statusOf(pod)}
	b.had = find(pod, contract.RestoreContainer) != nil || find(pod, contract.SyncContainer) != nil
	for _, step := range []func() error{
		b.chooseSidecar,
		b.addVolumes,
		b.mountIntoApp,
		b.raiseGracePeriod,
		b.addContainers,
		b.annotate,
	} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	b.warnAboutRisks()
	if b.before != nil && equality.Semantic.DeepEqual(pod, b.pod) && len(b.allWarnings()) == len(b.before.Warnings) {
		return b.pod, b.warnings, nil
	}
	b.writeStatus()
	return b.pod, b.warnings, nil
}

// builder is one injection under way.
type builder struct {
	Inputs
	pod      *corev1.Pod
	before   *Status // what an earlier injection left; nil: none
	had      bool    // a container of ours was there already
	warnings []string

	native   bool
	original int64 // the app's own grace period, seconds
	port     int32 // of the metrics; 0: none
	mounted  []*corev1.Container
}

func (b *builder) warn(text string) { b.warnings = append(b.warnings, text) }

// dataVolume is the name of the volume that is synced.
func (b *builder) dataVolume() string {
	if b.Settings.Volume != "" {
		return b.Settings.Volume
	}
	return contract.DataVolume
}

// chooseSidecar decides between a native sidecar and an ordinary container.
func (b *builder) chooseSidecar() error {
	switch b.Settings.NativeSidecar {
	case contract.NativeTrue:
		b.native = true
		if !b.Cluster.NativeSidecars {
			b.warn("native sidecars are not known everywhere (" + b.Cluster.Reason +
				"): this pod never starts where they are not")
		}
	case contract.NativeAuto:
		b.native = b.Cluster.NativeSidecars
	}
	if b.native {
		return nil
	}
	why := "this cluster has none yet (" + b.Cluster.Reason + ")"
	if b.Settings.NativeSidecar == contract.NativeFalse {
		why = contract.AnnotationPrefix + contract.NativeSidecar + ` is "false"`
	}
	if b.Workload.Kind == settings.Job {
		return refusal("the pod of a Job needs a native sidecar, or it would never complete, but %s: native sidecars need Kubernetes 1.%d on the API server and on every node",
			why, contract.NativeSidecarMinimumMinor)
	}
	if b.pod.Spec.RestartPolicy == corev1.RestartPolicyNever || b.pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure {
		b.warn("this pod never completes: its sidecar is an ordinary container, because " + why)
	}
	return nil
}

// raiseGracePeriod gives the last flush its time after the app has used its own.
func (b *builder) raiseGracePeriod() error {
	current := int64(contract.OriginalGracePeriodUnspecified)
	if set := b.pod.Spec.TerminationGracePeriodSeconds; set != nil {
		current = *set
	}
	b.original = b.ownGracePeriod(current)
	if want := b.original + b.flushSeconds(); want > current {
		b.pod.Spec.TerminationGracePeriodSeconds = &want
	}
	return nil
}

// ownGracePeriod is the app's own: what the pod says, less what an earlier
// injection has put on top. Who copies a pod copies that as well, and may then
// have raised it further.
func (b *builder) ownGracePeriod(current int64) int64 {
	switch {
	case b.before == nil && b.had: // the status is lost, so what it said is worked out backwards
		return max(current-b.flushSeconds(), 0)
	case b.before == nil:
		return current
	}
	own := b.before.TerminationGracePeriodSeconds
	raised := own + b.before.flushSeconds()
	if current == raised || b.had && current < raised {
		return own
	}
	return current
}

func (b *builder) flushSeconds() int64 { return flushSeconds(b.Settings.Mode, b.Settings.FlushTimeout) }

// flushSeconds is what the grace period is raised by. Where nothing is
// uploaded there is nothing to flush.
func flushSeconds(mode string, timeout time.Duration) int64 {
	if mode == contract.ModeReadOnly {
		return 0
	}
	return int64((timeout + time.Second - 1) / time.Second)
}

// containers are all containers of the pod in the order in which they start.
func containers(pod *corev1.Pod) []*corev1.Container {
	var all []*corev1.Container
	for i := range pod.Spec.InitContainers {
		all = append(all, &pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		all = append(all, &pod.Spec.Containers[i])
	}
	return all
}

// appContainers are the containers that are not ours.
func appContainers(pod *corev1.Pod) []*corev1.Container {
	return slices.DeleteFunc(containers(pod), func(c *corev1.Container) bool { return isOurs(c.Name) })
}

func isOurs(container string) bool {
	return container == contract.RestoreContainer || container == contract.SyncContainer
}

// find is the container of that name, or nil.
func find(pod *corev1.Pod, name string) *corev1.Container {
	for _, c := range containers(pod) {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func isInit(pod *corev1.Pod, name string) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name })
}

// isNative reports whether an init container is a native sidecar.
func isNative(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
