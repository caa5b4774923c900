package inject

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// Status is the JSON in the annotation that the webhook leaves on a pod.
type Status struct {
	Version       string   `json:"version"`
	Containers    []string `json:"containers"`
	Volumes       []string `json:"volumes"`
	NativeSidecar bool     `json:"nativeSidecar"`
	// TerminationGracePeriodSeconds is the app's own, before it was raised.
	TerminationGracePeriodSeconds int64             `json:"terminationGracePeriodSeconds"`
	MetricsPort                   int32             `json:"metricsPort,omitempty"`
	Settings                      map[string]string `json:"settings"`
	// Warnings are kept because those for a Deployment's pods reach no person.
	Warnings []string `json:"warnings,omitempty"`
}

// statusOf is what an earlier injection left on the pod, or nil.
func statusOf(pod *corev1.Pod) *Status {
	text, found := pod.Annotations[contract.AnnotationPrefix+contract.Status]
	if !found {
		return nil
	}
	var s Status
	if err := json.Unmarshal([]byte(text), &s); err != nil || len(s.Containers) == 0 {
		return nil
	}
	return &s
}

// flushSeconds is what the injection that left this raised the grace period by.
func (s *Status) flushSeconds() int64 {
	timeout, err := time.ParseDuration(s.Settings[contract.FlushTimeout])
	if err != nil {
		return 0 // not written by us; then nothing was raised
	}
	return flushSeconds(s.Settings[contract.Mode], timeout)
}

// allWarnings are those of an earlier injection too: some are only found by the
// first, and some only when another webhook has put its own into the pod.
func (b *builder) allWarnings() []string {
	if b.before == nil || !b.had {
		return b.warnings
	}
	all := slices.Clone(b.before.Warnings)
	for _, warning := range b.warnings {
		if !slices.Contains(all, warning) {
			all = append(all, warning)
		}
	}
	return all
}

func (b *builder) writeStatus() {
	text, err := json.Marshal(Status{
		Version:                       b.Version,
		Containers:                    []string{contract.RestoreContainer, contract.SyncContainer},
		Volumes:                       []string{b.dataVolume(), contract.StateVolume, contract.CredentialsVolume},
		NativeSidecar:                 b.native,
		TerminationGracePeriodSeconds: b.original,
		MetricsPort:                   b.port,
		Settings:                      b.Settings.Values,
		Warnings:                      b.allWarnings(),
	})
	if err != nil {
		panic(err) // strings, numbers and lists of them always encode
	}
	b.setAnnotation(contract.AnnotationPrefix+contract.Status, string(text))
}

// annotate tells two tools about what was added: kubectl, which container a
// person means, and the cluster autoscaler, that our volumes hold no node back.
func (b *builder) annotate() error {
	if _, set := b.pod.Annotations[contract.DefaultContainerAnnotation]; !set {
		for _, c := range b.pod.Spec.Containers {
			if !isOurs(c.Name) && !isMesh(c.Name) {
				b.setAnnotation(contract.DefaultContainerAnnotation, c.Name)
				break
			}
		}
	}
	safe := contract.SplitList(b.pod.Annotations[contract.SafeToEvictVolumesAnnotation])
	before := len(safe)
	for _, name := range []string{b.dataVolume(), contract.StateVolume} {
		if !slices.Contains(safe, name) {
			safe = append(safe, name)
		}
	}
	if len(safe) > before {
		b.setAnnotation(contract.SafeToEvictVolumesAnnotation, strings.Join(safe, ","))
	}
	return nil
}

func (b *builder) setAnnotation(key, value string) {
	if b.pod.Annotations == nil {
		b.pod.Annotations = map[string]string{}
	}
	b.pod.Annotations[key] = value
}
