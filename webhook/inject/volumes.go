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

// credentialsMode lets every user read the files. The volume is mounted into
// our two containers alone, which run as the app's user: without an fsGroup
// nothing narrower is readable for a user that is not root.
const credentialsMode int32 = 0o444

func (b *builder) addVolumes() error {
	s := b.Settings
	if s.Volume == "" {
		b.addVolume(contract.DataVolume, corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{Medium: s.Medium, SizeLimit: s.SizeLimit},
		})
	}
	b.addVolume(contract.StateVolume, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	mode, optional := credentialsMode, false
	b.addVolume(contract.CredentialsVolume, corev1.VolumeSource{
		// Not optional: a missing Secret then shows in `kubectl describe pod`.
		Secret: &corev1.SecretVolumeSource{SecretName: s.Secret, DefaultMode: &mode, Optional: &optional},
	})
	return nil
}

func (b *builder) addVolume(name string, source corev1.VolumeSource) {
	if volume(b.pod, name) == nil {
		b.pod.Spec.Volumes = append(b.pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
	}
}

// mountIntoApp adds the one mount that the app's containers get, and remembers
// which containers see the volume. A mesh's are not the app's, unless named.
func (b *builder) mountIntoApp() error {
	wanted := map[string]bool{}
	for _, name := range b.Settings.Containers {
		wanted[name] = true
	}
	for _, c := range appContainers(b.pod) {
		if b.Settings.Volume == "" && (wanted[c.Name] || len(wanted) == 0 && !isMesh(c.Name)) {
			if err := b.mountInto(c); err != nil {
				return err
			}
		}
		if mountsVolume(c, b.dataVolume()) {
			b.mounted = append(b.mounted, c)
		}
	}
	return nil
}

func mountsVolume(c *corev1.Container, name string) bool {
	return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == name })
}

func (b *builder) mountInto(c *corev1.Container) error {
	at := b.Settings.Path
	for _, m := range c.VolumeMounts {
		have := path.Clean(m.MountPath)
		switch {
		case have == at && m.Name == contract.DataVolume:
			return nil
		case have == at:
			advice := ""
			if v := volume(b.pod, m.Name); v != nil && v.EmptyDir != nil {
				advice = fmt.Sprintf(", or sync that emptyDir with %s%s: %s",
					contract.AnnotationPrefix, contract.Volume, m.Name)
			}
			return refusal("container %q already mounts volume %q at %s: choose another %s%s%s",
				c.Name, m.Name, at, contract.AnnotationPrefix, contract.Path, advice)
		case strings.HasPrefix(have, at+"/") && m.Name != contract.DataVolume:
			// The runtime makes what it mounts on, and that is in our volume.
			b.warn(fmt.Sprintf("container %q mounts volume %q at %s, inside the synced %s: instead of what it holds, "+
				"an empty file or folder of that name is synced, unless it is excluded", c.Name, m.Name, have, at))
		case strings.HasPrefix(at, strings.TrimSuffix(have, "/")+"/") && b.isReadOnly(m):
			b.warn(fmt.Sprintf("container %q mounts volume %q read-only at %s, above the synced %s: "+
				"it does not start unless that volume has such a folder", c.Name, m.Name, have, at))
		}
	}
	for _, d := range c.VolumeDevices {
		if path.Clean(d.DevicePath) == at {
			return refusal("container %q already has a device at %s: choose another %s%s",
				c.Name, at, contract.AnnotationPrefix, contract.Path)
		}
	}
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: contract.DataVolume, MountPath: at})
	return nil
}

// isReadOnly: nothing can be made in what is mounted, not even a place to mount on.
func (b *builder) isReadOnly(m corev1.VolumeMount) bool {
	v := volume(b.pod, m.Name)
	return m.ReadOnly || v != nil && (v.ConfigMap != nil || v.Secret != nil || v.Projected != nil || v.DownwardAPI != nil)
}

func dataVolumeName(s settings.Settings) string {
	return (&builder{Inputs: Inputs{Settings: s}}).dataVolume()
}
