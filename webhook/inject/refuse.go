package inject

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

// Refusal says why a pod cannot be injected and what to do about it.
type Refusal struct{ text string }

func (r *Refusal) Error() string { return r.text }

func refusal(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// refuse finds what no injection can work with.
func refuse(pod *corev1.Pod, in Inputs) error {
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return refusal("a static pod cannot be injected: the kubelet runs it from a file and never sees what is added here; run it as a DaemonSet or Deployment")
	}
	if isWindows(pod) {
		return refusal("a Windows pod cannot be injected: the sidecar is a Linux program")
	}
	if in.Settings.PrefixUses(contract.OrdinalEnv) && pod.Name != "" && pod.Labels[podIndexLabel] == "" {
		return refusal("%s%s uses {ordinal}, but the pod has no label %s: StatefulSets set it from Kubernetes 1.28 on",
			contract.AnnotationPrefix, contract.Prefix, podIndexLabel)
	}
	if err := checkNamedContainers(pod, in.Settings.Containers); err != nil {
		return err
	}
	if err := checkVolumes(pod, in.Settings); err != nil {
		return err
	}
	for _, c := range appContainers(pod) {
		for _, m := range c.VolumeMounts {
			if m.Name == contract.CredentialsVolume || m.Name == contract.StateVolume {
				return refusal("container %q mounts volume %q, which only the sidecar may: remove that mount", c.Name, m.Name)
			}
		}
	}
	return checkKept(pod, in.Settings)
}

func isWindows(pod *corev1.Pod) bool {
	const windows = string(corev1.Windows)
	if pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows ||
		pod.Spec.SecurityContext != nil && pod.Spec.SecurityContext.WindowsOptions != nil {
		return true
	}
	for _, label := range osLabels() {
		if pod.Spec.NodeSelector[label] == windows {
			return true
		}
	}
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.NodeAffinity == nil {
		return false
	}
	required := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	// One term is enough for a node, so each of them must ask for Windows.
	return required != nil && len(required.NodeSelectorTerms) > 0 &&
		!slices.ContainsFunc(required.NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
			return !slices.ContainsFunc(term.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool {
				return slices.Contains(osLabels(), r.Key) && r.Operator == corev1.NodeSelectorOpIn && slices.Equal(r.Values, []string{windows})
			})
		})
}

// osLabels are the labels of a node that name its operating system, the second
// one by its older name.
func osLabels() []string { return []string{corev1.LabelOSStable, "beta.kubernetes.io/os"} }

func checkNamedContainers(pod *corev1.Pod, names []string) error {
	var known []string
	for _, c := range appContainers(pod) {
		known = append(known, c.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return refusal("%s%s names %q, but the pod's containers are %s",
				contract.AnnotationPrefix, contract.Containers, name, strings.Join(known, ", "))
		}
	}
	return nil
}

// checkVolumes looks at volumes that are already there under the names we use.
func checkVolumes(pod *corev1.Pod, s settings.Settings) error {
	if s.Volume != "" {
		named := volume(pod, s.Volume)
		if named == nil {
			var known []string
			for _, v := range pod.Spec.Volumes {
				if v.EmptyDir != nil {
					known = append(known, v.Name)
				}
			}
			have := "has none"
			if len(known) > 0 {
				have = "has " + strings.Join(known, ", ")
			}
			return refusal("%s%s names %q, but the pod has no such volume (of emptyDirs it %s)",
				contract.AnnotationPrefix, contract.Volume, s.Volume, have)
		}
		if named.EmptyDir == nil {
			return refusal("%s%s names %q, which is not an emptyDir: only an emptyDir can be restored and synced",
				contract.AnnotationPrefix, contract.Volume, s.Volume)
		}
	}
	for _, name := range []string{contract.DataVolume, contract.StateVolume} {
		if v := volume(pod, name); v != nil && v.EmptyDir == nil {
			return refusal("the pod's volume %q is not an emptyDir: that name belongs to minio-sidecar; rename or remove the volume", name)
		}
	}
	if v := volume(pod, contract.CredentialsVolume); v != nil && (v.Secret == nil || v.Secret.SecretName != s.Secret) {
		return refusal("the pod's volume %q is not the Secret %q: that name belongs to minio-sidecar; rename or remove the volume",
			contract.CredentialsVolume, s.Secret)
	}
	return nil
}

// checkKept looks at containers of ours that are already there: a pod copied
// from a running one, one injected offline, or one that another webhook has
// handled in between. Details may differ, but not what the data depends on.
func checkKept(pod *corev1.Pod, s settings.Settings) error {
	for _, kept := range []struct{ name, command string }{
		{contract.RestoreContainer, commandRestore},
		{contract.SyncContainer, commandSync},
	} {
		name := kept.name
		c := find(pod, name)
		if c == nil {
			continue
		}
		init := isInit(pod, name)
		native := init && isNative(c)
		switch {
		case name == contract.RestoreContainer && (!init || native):
			return altered(name, "is not an ordinary init container")
		case name == contract.SyncContainer && init && !native:
			return altered(name, "has lost its restartPolicy Always, so the pod would never start; "+
				"a webhook that does not know native sidecars may have removed it")
		case !slices.Equal(c.Args, []string{kept.command}):
			return altered(name, "does not run "+strconv.Quote(kept.command))
		}
		want := mounts(dataVolumeName(s))
		for _, m := range want {
			if !slices.ContainsFunc(c.VolumeMounts, func(have corev1.VolumeMount) bool {
				return have.Name == m.Name && path.Clean(have.MountPath) == m.MountPath
			}) {
				return altered(name, "does not mount volume "+strconv.Quote(m.Name)+" at "+m.MountPath)
			}
		}
		for _, flag := range podFlags() {
			if flag == contract.FlagLogLevel || flag == contract.FlagFlushTimeout { // see checkFlushTime
				continue
			}
			if err := checkFlag(c, flag, flagValue(s, flag)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkFlushTime looks at the time for the last flush of a sync that is already
// there. It must be what the pod's grace period was raised for.
func (b *builder) checkFlushTime(sync *corev1.Container) error {
	want := flagValue(b.Settings, contract.FlagFlushTimeout)
	if !isInit(b.pod, sync.Name) {
		want = b.wholeTime()
	}
	return checkFlag(sync, contract.FlagFlushTimeout, want)
}

func checkFlag(c *corev1.Container, flag, want string) error {
	if have := envValue(c, contract.EnvName(flag)); have != want {
		return altered(c.Name, fmt.Sprintf("was made for %s %q, and the pod now asks for %q", flag, have, want))
	}
	return nil
}

func altered(container, how string) error {
	return refusal("the pod already has a container %q, which %s: remove that container (and a copied minio-sidecar/status) to have it made anew",
		container, how)
}

func envValue(c *corev1.Container, name string) (value string) {
	for _, e := range c.Env {
		if e.Name == name {
			value = e.Value // of several, the last one holds
		}
	}
	return value
}

func volume(pod *corev1.Pod, name string) *corev1.Volume {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return &pod.Spec.Volumes[i]
		}
	}
	return nil
}
