package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
)

// kind is a way to write values of a type. read and write are each other's
// inverse, up to spelling.
type kind[T any] struct {
	name  string // for the help
	must  string // what is allowed: "must be …"
	read  func(string) (T, bool)
	write func(T) string
}

// value is one setting of a kind, as pflag wants it.
type value[T any] struct {
	kind[T]
	flag   string
	target *T
}

// Set implements pflag.Value. Its error is a *[badSetting].
func (v *value[T]) Set(text string) error {
	read, ok := v.read(text)
	if !ok {
		return &badSetting{flag: v.flag, value: text, must: v.must}
	}
	*v.target = read
	return nil
}

// String implements pflag.Value, which also calls it on the zero value.
func (v *value[T]) String() string {
	if v.target == nil {
		return ""
	}
	return v.write(*v.target)
}

// Type implements pflag.Value.
func (v *value[T]) Type() string { return v.name }

// listValue is a setting that may be given several times; each adds to it.
type listValue struct {
	value[[]string]
	given bool
}

// Set implements pflag.Value.
func (v *listValue) Set(text string) error {
	before := *v.target
	if err := v.value.Set(text); err != nil {
		return err
	}
	if v.given {
		*v.target = append(before, *v.target...)
	}
	v.given = true
	return nil
}

// badSetting is a setting that a person has to change.
type badSetting struct {
	flag    string
	value   string
	must    string
	missing bool
}

func (e *badSetting) Error() string {
	name := "--" + e.flag
	if contract.IsFlag(e.flag) {
		name += " (" + contract.EnvName(e.flag) + ")"
	}
	if e.missing {
		return name + " is missing: it must be " + e.must
	}
	return fmt.Sprintf("%s %q must be %s", name, e.value, e.must)
}

func itself(s string) string { return s }

// maxDuration is a year: longer than anybody waits, and safe to add to.
const maxDuration = 365 * 24 * time.Hour

func durationKind(least time.Duration) kind[time.Duration] {
	return kind[time.Duration]{
		name: "duration", must: fmt.Sprintf(`a duration of at least %s and at most a year (8760h), such as "90s" or "5m"`, least),
		read: func(text string) (time.Duration, bool) {
			d, err := time.ParseDuration(text)
			return d, err == nil && d >= least && d <= maxDuration
		},
		write: writeDuration,
	}
}

// writeDuration leaves out the zeroes of "5m0s".
func writeDuration(d time.Duration) string {
	text := d.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// momentKind reads a time of RFC 3339; none is "".
func momentKind() kind[time.Time] {
	return kind[time.Time]{
		name: "time", must: `a moment in the form of RFC 3339, such as "2026-11-23T18:30:00Z"`,
		read: func(text string) (time.Time, bool) {
			if text == "" {
				return time.Time{}, true
			}
			t, err := time.Parse(time.RFC3339, text)
			return t.UTC(), err == nil
		},
		write: func(t time.Time) string {
			if t.IsZero() {
				return ""
			}
			return t.Format(time.RFC3339Nano)
		},
	}
}

func boolKind() kind[bool] {
	return kind[bool]{
		name: "bool", must: "true or false",
		read:  func(text string) (bool, bool) { return text == "true", text == "true" || text == "false" },
		write: strconv.FormatBool,
	}
}

func intKind(least, most int) kind[int] {
	return kind[int]{
		name: "number", must: fmt.Sprintf("a number from %d to %d", least, most),
		read: func(text string) (int, bool) {
			n, err := strconv.Atoi(text)
			return n, err == nil && n >= least && n <= most
		},
		write: strconv.Itoa,
	}
}

// rateKind reads bytes per second in the spelling of Kubernetes' quantities, of
// which it knows the common part: 65536, 64Ki, 1.5Mi, 10M.
func rateKind() kind[int64] {
	return kind[int64]{
		name: "rate", write: writeQuantity,
		must: fmt.Sprintf(`bytes per second, at least %s, such as "10Mi" or "2.5M", or 0 for no limit`, writeQuantity(contract.MinBandwidthLimit)),
		read: func(text string) (int64, bool) {
			n, ok := readQuantity(text)
			return n, ok && (n == 0 || n >= contract.MinBandwidthLimit)
		},
	}
}

var units = []struct {
	suffix string
	size   int64
}{
	{"Ti", 1 << 40}, {"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10},
	{"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3}, {"", 1},
}

var numberShape = regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]{1,9})?$`)

func readQuantity(text string) (int64, bool) {
	for _, unit := range units {
		number, ok := strings.CutSuffix(text, unit.suffix)
		if !ok || !numberShape.MatchString(number) {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		n *= float64(unit.size)
		return int64(n), err == nil && n < 1e15
	}
	return 0, false
}

// writeQuantity takes the largest unit that needs no fraction.
func writeQuantity(n int64) string {
	for _, unit := range units {
		if n >= unit.size && n%unit.size == 0 {
			return strconv.FormatInt(n/unit.size, 10) + unit.suffix
		}
	}
	return "0"
}

func oneOfKind(allowed ...string) kind[string] {
	list := strings.Join(allowed[:len(allowed)-1], ", ") + " or " + allowed[len(allowed)-1]
	return kind[string]{
		name: strings.Join(allowed, "|"), must: list, write: itself,
		read: func(text string) (string, bool) { return text, slices.Contains(allowed, text) },
	}
}

func folderKind() kind[string] {
	return kind[string]{
		name: "folder", must: "the path of a folder", write: itself,
		read: func(text string) (string, bool) { return text, text != "" && !strings.Contains(text, "\x00") },
	}
}

// bucketKind holds the naming rules that every S3 store shares:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
func bucketKind() kind[string] {
	shape := regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	return kind[string]{
		name: "name", must: "3 to 63 lower-case letters, digits, dots and hyphens, beginning and ending with a letter or digit",
		write: itself,
		read: func(text string) (string, bool) {
			return text, shape.MatchString(text) && !strings.Contains(text, "..") && net.ParseIP(text) == nil
		},
	}
}

// maxPrefix leaves a fair part of the 1,024 bytes of a key to the files.
const maxPrefix = 768

// prefixKind reads a prefix with or without its last '/', and gives it one.
func prefixKind() kind[string] {
	return kind[string]{
		name: "prefix",
		must: fmt.Sprintf(`UTF-8 text of at most %d bytes without control characters, whose segments are not empty, ".", ".." or %q, such as "team/app"`,
			maxPrefix, strings.TrimSuffix(contract.Reserved, "/")),
		read: readPrefix, write: itself,
	}
}

func readPrefix(text string) (string, bool) {
	if text == "" {
		return "", true
	}
	prefix := strings.TrimSuffix(text, "/") + "/"
	if len(prefix) > maxPrefix || !utf8.ValidString(prefix) || strings.ContainsFunc(prefix, unicode.IsControl) {
		return "", false
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(prefix, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." || segment+"/" == contract.Reserved {
			return "", false
		}
	}
	return prefix, true
}

func endpointKind() kind[string] {
	return kind[string]{
		name: "URL", must: `http://host:port or https://host:port of the store, with nothing after it, such as "http://127.0.0.1:9000"`,
		read: readEndpoint, write: itself,
	}
}

func readEndpoint(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || !validPort(u.Port()) ||
		strings.HasSuffix(u.Host, ":") {
		return "", false
	}
	return u.Scheme + "://" + u.Host, true
}

func validPort(port string) bool {
	n, err := strconv.Atoi(port)
	return port == "" || err == nil && n > 0 && n < 1<<16
}

func regionKind() kind[string] {
	shape := regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	return kind[string]{
		name: "name", must: `the store's region, such as "` + contract.DefaultRegion + `"`, write: itself,
		read: func(text string) (string, bool) { return text, shape.MatchString(text) },
	}
}

// addressKind reads where to listen; none is written "0" or "".
func addressKind() kind[string] {
	return kind[string]{
		name: "address", must: `a port with or without an IP address before it, such as ":9808" or "127.0.0.1:9808", or 0 for none`,
		read: readAddress, write: itself,
	}
}

func readAddress(text string) (string, bool) {
	if text == "" || text == "0" {
		return "", true
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "" || !validPort(port) {
		return "", false
	}
	if host != "" && host != "localhost" {
		if _, err := netip.ParseAddr(host); err != nil {
			return "", false
		}
	}
	return net.JoinHostPort(host, port), true
}

func patternsKind() kind[[]string] {
	return kind[[]string]{
		name: "globs", must: `comma-separated globs over the path below the folder, such as "**/*.log,tmp/**"`,
		read: func(text string) ([]string, bool) {
			patterns := contract.SplitList(text)
			_, err := plan.NewFilter(patterns, nil)
			return patterns, err == nil
		},
		write: func(patterns []string) string { return strings.Join(patterns, ",") },
	}
}
