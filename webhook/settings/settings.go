// Package settings turns annotations into checked settings. It is pure: what it
// needs to know about the pod is handed in.
//
// Settings come in layers, each over the one before: what is built in, what the
// administrator set for the cluster, and the pod's own annotations. A policy
// for some pods will be one more layer between the last two.
package settings

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// Settings are what one pod asked for, complete and checked.
type Settings struct {
	Bucket string
	// Prefix is empty or ends in "/". It may refer to environment variables of
	// the container, as in "web/$(MINIO_SIDECAR_POD_NAME)/"; see [Settings.PrefixUses].
	Prefix string
	Path   string // absolute and clean
	Volume string // name of the pod's own emptyDir; empty: a new one
	// Containers that get the mount; empty: all.
	Containers     []string
	Endpoint       string
	Region         string
	Secret         string
	Mode           string
	Delete         bool
	Include        []string
	Exclude        []string
	SizeLimit      *resource.Quantity // nil: none
	Medium         corev1.StorageMedium
	CreateBucket   bool
	RestoreAt      time.Time     // zero: the present
	RestoreTimeout time.Duration // 0: none
	FlushTimeout   time.Duration
	ScanInterval   time.Duration
	BandwidthLimit int64 // bytes per second each way; 0: none
	Resources      corev1.ResourceRequirements
	// OwnResources are those of Resources that the pod itself names.
	OwnResources  corev1.ResourceRequirements
	RunAsUser     *int64 // nil: as the app
	RunAsGroup    *int64 // nil: as the app
	NativeSidecar string
	MetricsPort   int32 // 0: none
	// MetricsPortFixed: the pod itself names the port, so no other will do.
	MetricsPortFixed bool
	Image            string
	ImagePullPolicy  corev1.PullPolicy // empty: Kubernetes decides
	LogLevel         string

	// Values are the settings as people write them, by key, without those that
	// were left empty; the prefix has its words filled in.
	Values map[string]string
}

// Input is what [Resolve] works on.
type Input struct {
	// Annotations of the pod, all of them; keys outside our prefix are ignored.
	Annotations map[string]string
	// Defaults of the cluster, by key without the prefix.
	Defaults  map[string]string
	Namespace string
	Workload  Workload
}

// Asked reports whether a pod has any annotation of ours that a person wrote
// and did not take back with inject: "false".
func Asked(annotations map[string]string) bool {
	if annotations[contract.AnnotationPrefix+contract.Inject] == "false" {
		return false
	}
	for key := range annotations {
		if strings.HasPrefix(key, contract.AnnotationPrefix) {
			return true
		}
	}
	return false
}

// Resolve layers, parses and checks. Its error is a [Errors], one for each
// thing that a person has to change.
func Resolve(in Input) (Settings, error) {
	annotated, problems := ours(in.Annotations)

	lower := builtin()
	maps.Copy(lower, in.Defaults)
	problems = append(problems, contradictions(annotated, lower)...)
	values := lower
	maps.Copy(values, annotated)

	s := Settings{Values: values}
	_, s.MetricsPortFixed = annotated[contract.MetricsPort]
	own := Settings{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if err := s.set(key, values[key], in); err != nil {
			problems = append(problems, *asError(err).at(key, values[key]))
			delete(values, key)
		} else if values[key] == "" {
			delete(values, key)
		} else if _, named := annotated[key]; named && isResource(key) {
			_ = own.set(key, values[key], in) // which has just been checked
		}
	}
	s.OwnResources = own.Resources
	problems = append(problems, s.missing(annotated, problems)...)
	problems = append(problems, s.requestsAboveLimits()...)
	if len(problems) > 0 {
		return Settings{}, problems
	}
	if s.Prefix != "" {
		s.Values[contract.Prefix] = s.Prefix
	}
	return s, nil
}

// CheckDefaults checks defaults alone, so that a mistake of the administrator's
// shows when the webhook starts and not at each pod.
func CheckDefaults(defaults map[string]string) error {
	var problems Errors
	for _, key := range slices.Sorted(maps.Keys(defaults)) {
		if !slices.Contains(DefaultKeys(), key) {
			problems = append(problems, unknown(key, DefaultKeys()))
		}
	}
	// A stand-in pod makes the checks of Resolve apply to the defaults.
	_, err := Resolve(Input{
		Annotations: map[string]string{contract.AnnotationPrefix + contract.Bucket: "any"},
		Defaults:    defaults,
		Namespace:   "any",
		Workload:    Workload{Kind: StatefulSet, Name: "any"},
	})
	var found Errors
	if errors.As(err, &found) {
		for _, problem := range found {
			// Without a default for the endpoint each pod must name its own.
			if problem.Key != contract.Endpoint || defaults[contract.Endpoint] != "" {
				problems = append(problems, problem)
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return problems
}

// DefaultKeys are the keys that can have a default for the whole cluster: those
// that make sense without knowing the pod.
func DefaultKeys() []string {
	return slices.DeleteFunc(contract.Annotations(), func(key string) bool {
		switch key {
		case contract.Bucket, contract.Inject, contract.Volume, contract.Containers,
			contract.RestoreAt, contract.RunAsUser, contract.RunAsGroup, contract.Status:
			return true
		}
		return false
	})
}

func builtin() map[string]string {
	return map[string]string{
		contract.Path:          contract.DefaultPath,
		contract.Region:        contract.DefaultRegion,
		contract.Secret:        contract.DefaultSecret,
		contract.Mode:          contract.DefaultMode,
		contract.Delete:        strconv.FormatBool(contract.DefaultDelete),
		contract.FlushTimeout:  contract.DefaultFlushTimeout.String(),
		contract.ScanInterval:  contract.DefaultScanInterval.String(),
		contract.CPURequest:    contract.DefaultCPURequest,
		contract.MemoryRequest: contract.DefaultMemoryRequest,
		contract.MemoryLimit:   contract.DefaultMemoryLimit,
		contract.LogLevel:      contract.DefaultLogLevel,
		contract.NativeSidecar: contract.DefaultNativeSidecar,
		contract.MetricsPort:   strconv.Itoa(contract.DefaultMetricsPort),
	}
}

// ours are the annotations under our prefix that people write, without it.
func ours(annotations map[string]string) (map[string]string, Errors) {
	known := slices.DeleteFunc(contract.Annotations(), func(key string) bool { return key == contract.Status })
	values := map[string]string{}
	var problems Errors
	for _, full := range slices.Sorted(maps.Keys(annotations)) {
		key, found := strings.CutPrefix(full, contract.AnnotationPrefix)
		switch {
		case !found || key == contract.Status:
		case slices.Contains(known, key):
			values[key] = annotations[full]
		default:
			problems = append(problems, unknown(key, known))
		}
	}
	return values, problems
}

// contradictions finds pairs of annotations that cannot both be meant. Against
// a mere default the annotation wins: the default is taken out of lower.
func contradictions(annotated, lower map[string]string) Errors {
	var problems Errors
	exclude := func(key, other, why string) {
		if _, found := annotated[other]; found {
			problems = append(problems, Error{Key: key, Value: annotated[key], Allowed: why})
		}
		delete(lower, other)
	}
	if annotated[contract.Volume] != "" {
		for _, other := range []string{contract.SizeLimit, contract.Medium, contract.Path, contract.Containers} {
			exclude(contract.Volume, other, "contradicts "+contract.AnnotationPrefix+other+
				": the pod defines and mounts that volume itself; remove one of the two")
		}
	}
	if annotated[contract.RestoreAt] != "" {
		if annotated[contract.Delete] == "false" {
			problems = append(problems, Error{Key: contract.RestoreAt, Value: annotated[contract.RestoreAt],
				Allowed: "contradicts " + contract.AnnotationPrefix + contract.Delete +
					" \"false\": what was made after that moment could not be removed; remove one of the two"})
		}
		lower[contract.Delete] = "true"
	}
	mode := annotated[contract.Mode]
	if mode == "" {
		mode = lower[contract.Mode]
	}
	if mode == contract.ModeReadOnly {
		if annotated[contract.CreateBucket] == "true" {
			problems = append(problems, Error{Key: contract.CreateBucket, Value: "true",
				Allowed: "contradicts " + contract.AnnotationPrefix + contract.Mode + " " + contract.ModeReadOnly +
					": a read-only volume makes no bucket; remove one of the two"})
		}
		delete(lower, contract.CreateBucket)
	}
	return problems
}

// missing finds what needs a value and has none in any layer. What was given
// and did not parse, or was misspelt, has been reported already.
func (s *Settings) missing(annotated map[string]string, reported Errors) Errors {
	var problems Errors
	require := func(key, value, what string) {
		known := slices.ContainsFunc(reported, func(e Error) bool {
			return e.Key == key || e.Nearest == contract.AnnotationPrefix+key
		})
		if _, given := annotated[key]; !given && !known && value == "" {
			problems = append(problems, Error{Key: key, Allowed: "is required" + what})
		}
	}
	require(contract.Bucket, s.Bucket, ": the name of the bucket that keeps the files")
	require(contract.Endpoint, s.Endpoint,
		", because this cluster has no default: the store's URL, such as https://minio.example.com:9000")
	require(contract.Image, s.Image, ", because this cluster has no default: the syncer's image")
	return problems
}

func isResource(key string) bool {
	switch key {
	case contract.CPURequest, contract.CPULimit, contract.MemoryRequest, contract.MemoryLimit:
		return true
	}
	return false
}

func (s *Settings) requestsAboveLimits() Errors {
	var problems Errors
	for _, pair := range []struct {
		name           corev1.ResourceName
		request, limit string
	}{
		{corev1.ResourceCPU, contract.CPURequest, contract.CPULimit},
		{corev1.ResourceMemory, contract.MemoryRequest, contract.MemoryLimit},
	} {
		request, limit := s.Resources.Requests[pair.name], s.Resources.Limits[pair.name]
		if !limit.IsZero() && request.Cmp(limit) > 0 {
			problems = append(problems, Error{Key: pair.request, Value: request.String(),
				Allowed: "is above " + contract.AnnotationPrefix + pair.limit + " " + strconv.Quote(limit.String()) +
					": a request is at most its limit"})
		}
	}
	return problems
}
