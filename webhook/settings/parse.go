package settings

import (
	"net"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// set parses one value into its field.
func (s *Settings) set(key, value string, in Input) (err error) {
	switch key {
	case contract.Bucket:
		s.Bucket, err = value, checkBucket(value)
	case contract.Inject:
		_, err = parseBool(value) // "false" never comes here
	case contract.Prefix:
		s.Prefix, err = expandPrefix(value, in.Namespace, in.Workload)
	case contract.Path:
		s.Path, err = parsePath(value)
	case contract.Volume:
		s.Volume, err = value, checkLabel(value, "the name of an emptyDir in the pod's volumes")
	case contract.Containers:
		s.Containers, err = parseContainers(value)
	case contract.Endpoint:
		s.Endpoint, err = parseEndpoint(value)
	case contract.Region:
		s.Region, err = value, checkRegion(value)
	case contract.Secret:
		s.Secret, err = value, checkName(value, "the name of a Secret in the pod's namespace")
	case contract.Mode:
		s.Mode, err = value, oneOf(value, contract.Modes()...)
	case contract.Delete:
		s.Delete, err = parseBool(value)
	case contract.Include:
		s.Include, err = parsePatterns(value)
	case contract.Exclude:
		s.Exclude, err = parsePatterns(value)
	case contract.SizeLimit:
		s.SizeLimit, err = parseSize(value)
	case contract.Medium:
		s.Medium, err = corev1.StorageMedium(value), oneOf(value, "", string(corev1.StorageMediumMemory))
	case contract.CreateBucket:
		s.CreateBucket, err = parseBool(value)
	case contract.RestoreAt:
		s.RestoreAt, err = parseMoment(value)
	case contract.RestoreTimeout:
		s.RestoreTimeout, err = parseDuration(value, 0)
	case contract.FlushTimeout:
		s.FlushTimeout, err = parseDuration(value, 0)
	case contract.ScanInterval:
		s.ScanInterval, err = parseDuration(value, time.Second)
	case contract.BandwidthLimit:
		s.BandwidthLimit, err = parseRate(value)
	case contract.CPURequest:
		err = setResource(&s.Resources.Requests, corev1.ResourceCPU, value)
	case contract.CPULimit:
		err = setResource(&s.Resources.Limits, corev1.ResourceCPU, value)
	case contract.MemoryRequest:
		err = setResource(&s.Resources.Requests, corev1.ResourceMemory, value)
	case contract.MemoryLimit:
		err = setResource(&s.Resources.Limits, corev1.ResourceMemory, value)
	case contract.RunAsUser:
		s.RunAsUser, err = parseID(value)
	case contract.RunAsGroup:
		s.RunAsGroup, err = parseID(value)
	case contract.NativeSidecar:
		s.NativeSidecar = value
		err = oneOf(value, contract.NativeAuto, contract.NativeTrue, contract.NativeFalse)
	case contract.MetricsPort:
		s.MetricsPort, err = parsePort(value)
	case contract.Image:
		s.Image, err = value, checkImage(value)
	case contract.ImagePullPolicy:
		s.ImagePullPolicy = corev1.PullPolicy(value)
		err = oneOf(value, string(corev1.PullAlways), string(corev1.PullIfNotPresent), string(corev1.PullNever))
	case contract.LogLevel:
		s.LogLevel, err = value, oneOf(value, contract.LogLevels()...)
	}
	return err
}

// checkBucket holds the naming rules that every S3 store shares:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
func checkBucket(value string) error {
	shape := regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	beside := regexp.MustCompile(`\.[.-]|-\.`)
	if shape.MatchString(value) && !beside.MatchString(value) && net.ParseIP(value) == nil {
		return nil
	}
	return must("3 to 63 lower-case letters, digits, dots and hyphens, begin and end with a letter or digit, " +
		"have no dot beside another or a hyphen, and not look like an IP address")
}

func parseBool(value string) (bool, error) {
	return value == "true", oneOf(value, "true", "false")
}

func parsePath(value string) (string, error) {
	clean := path.Clean(value)
	// Kubernetes refuses a colon in a mount path.
	if !path.IsAbs(value) || clean == "/" || strings.ContainsAny(value, ":\x00") || hasSegment(value, "..") {
		return "", must(`an absolute path below "/", without ".." and ":", such as "/data"`)
	}
	return clean, nil
}

func parseContainers(value string) ([]string, error) {
	names := contract.SplitList(value)
	if len(names) == 0 {
		return nil, must("a comma-separated list of container names")
	}
	for _, name := range names {
		if err := checkLabel(name, "a comma-separated list of container names"); err != nil {
			return nil, err
		}
		if name == contract.RestoreContainer || name == contract.SyncContainer {
			return nil, must("containers of the app; %s is not one of them", name)
		}
	}
	return names, nil
}

func parseEndpoint(value string) (string, error) {
	u, err := url.Parse(value)
	port := ""
	if err == nil {
		port = u.Port()
	}
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", !validHost(u.Hostname()),
		!validPort(port), strings.HasSuffix(u.Host, ":"):
		return "", must("http://host:port or https://host:port of the store, such as https://minio.example.com:9000")
	case u.User != nil:
		return "", must("a URL without user and password: credentials belong in the Secret that %s%s names",
			contract.AnnotationPrefix, contract.Secret)
	case strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		return "", must("a URL without path and query: the bucket has an annotation of its own")
	}
	return u.Scheme + "://" + u.Host, nil
}

// validHost takes what S3 clients take: an IP address without a zone, or a name
// of letters, digits, hyphens, dots and, inside, underscores.
func validHost(host string) bool {
	name := regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?$`)
	return net.ParseIP(host) != nil || name.MatchString(host)
}

func validPort(port string) bool {
	n, err := strconv.Atoi(port)
	return port == "" || err == nil && n > 0 && n < 1<<16
}

func checkRegion(value string) error {
	if regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`).MatchString(value) {
		return nil
	}
	return must(`the store's region, such as "us-east-1"`)
}

func checkName(value, what string) error {
	if len(validation.IsDNS1123Subdomain(value)) > 0 {
		return must("%s: lower-case letters, digits, hyphens and dots", what)
	}
	return nil
}

func checkLabel(value, what string) error {
	if len(validation.IsDNS1123Label(value)) > 0 {
		return must("%s: lower-case letters, digits and hyphens", what)
	}
	return nil
}

func parsePatterns(value string) ([]string, error) {
	patterns := contract.SplitList(value)
	if len(patterns) == 0 && value != "" { // empty takes a default away
		return nil, must(`comma-separated globs, such as "**/*.log,tmp/**"`)
	}
	for _, pattern := range patterns {
		// The syncer takes a last "/" for "a folder", and looks at what is before it.
		if !doublestar.ValidatePattern(pattern) || !doublestar.ValidatePattern(strings.TrimRight(pattern, "/")) ||
			strings.Contains(pattern, "\x00") {
			return nil, must("comma-separated globs, such as \"**/*.log,tmp/**\"; %q is none", pattern)
		}
		if path.IsAbs(pattern) || hasSegment(pattern, "..") {
			return nil, must("globs over the path below the volume's root, without a leading \"/\" and \"..\"; %q can match nothing", pattern)
		}
	}
	return patterns, nil
}

func parseSize(value string) (*resource.Quantity, error) {
	if value == "" { // takes a default away
		return nil, nil
	}
	q, err := resource.ParseQuantity(value)
	if err != nil || q.Value() <= 0 {
		return nil, must(`a size above zero as a Kubernetes quantity, such as "10Gi"`)
	}
	return &q, nil
}

// parseMoment reads a time of RFC 3339; none is written "". Whether it has
// passed is for the syncer to say, which knows the time.
func parseMoment(value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, must(`a moment in the form of RFC 3339, such as "2026-11-23T18:30:00Z" or "2026-11-23T19:30:00+01:00"`)
	}
	return t.UTC(), nil
}

// MaxDuration is a year: longer than any pod waits, and safe to add to a grace
// period. The syncer takes no more either.
const MaxDuration = 365 * 24 * time.Hour

func parseDuration(value string, least time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < least || d > MaxDuration {
		return 0, must(`a duration of at least %s and at most a year (8760h), such as "90s" or "5m"`, least)
	}
	return d, nil
}

// parseRate reads bytes per second; none is written "0" or "".
func parseRate(value string) (int64, error) {
	if value == "" || value == "0" {
		return 0, nil
	}
	q, err := resource.ParseQuantity(value)
	// Above the most, a quantity is not exact any more, and the syncer takes none.
	const most = 1e15 - 1
	if err != nil || q.Value() < contract.MinBandwidthLimit || q.CmpInt64(most) > 0 {
		return 0, must(`bytes per second as a Kubernetes quantity of at least "%s" and below "1P", such as "10Mi", or 0 for no limit`,
			resource.NewQuantity(contract.MinBandwidthLimit, resource.BinarySI))
	}
	return q.Value(), nil
}

func setResource(list *corev1.ResourceList, name corev1.ResourceName, value string) error {
	if value == "" { // takes a default away
		return nil
	}
	q, err := resource.ParseQuantity(value)
	if err != nil || q.Sign() <= 0 {
		return must(`a Kubernetes quantity above zero, such as "%s"`,
			map[corev1.ResourceName]string{corev1.ResourceCPU: "100m", corev1.ResourceMemory: "128Mi"}[name])
	}
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = q
	return nil
}

func parseID(value string) (*int64, error) {
	id, err := strconv.ParseInt(value, 10, 64)
	if err != nil || id < 0 || id > 1<<31-1 {
		return nil, must("a number from 0 to 2147483647")
	}
	return &id, nil
}

// parsePort reads a port, or 0 for none.
func parsePort(value string) (int32, error) {
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return 0, must("a port from 1 to 65535, or 0 for none")
	}
	return int32(port), nil
}

func checkImage(value string) error {
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' }) || strings.Contains(value, "://") {
		return must(`an image reference, such as "registry.example.com/syncer:1.0"`)
	}
	return nil
}

// hasSegment reports whether one of the path's segments is the given one.
func hasSegment(p, segment string) bool {
	for s := range strings.SplitSeq(p, "/") {
		if s == segment {
			return true
		}
	}
	return false
}
