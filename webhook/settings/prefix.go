package settings

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// Words that a prefix may contain in braces.
const (
	wordNamespace = "namespace"
	wordWorkload  = "workload"
	wordPod       = "pod"
	wordOrdinal   = "ordinal"
)

// maxPrefix leaves half of the 1,024 bytes that a key may have to the files.
const maxPrefix = 512

// The most bytes that the references may become.
const (
	maxPodName = 253
	maxOrdinal = 10
)

// longest is the most bytes that the prefix may have once Kubernetes has filled
// it in.
func longest(prefix string) int {
	return len(strings.NewReplacer(
		"$$", "$",
		reference(contract.PodNameEnv), strings.Repeat("x", maxPodName),
		reference(contract.OrdinalEnv), strings.Repeat("x", maxOrdinal),
	).Replace(prefix))
}

func reference(env string) string { return "$(" + env + ")" }

func escape(text string) string { return strings.ReplaceAll(text, "$", "$$") }

// expandPrefix fills in the words and checks what comes out. A pod's name is
// often made up after admission, and its ordinal is a label, so both become
// references that Kubernetes resolves when it starts the container.
func expandPrefix(value, namespace string, workload Workload) (string, error) {
	if value == "" {
		return "", nil
	}
	var b strings.Builder
	rest := value
	for {
		before, after, found := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			return "", must(`balanced in its braces`)
		}
		// A "$" that people write is a "$", whatever follows it.
		b.WriteString(escape(before))
		if !found {
			break
		}
		word, after, found := strings.Cut(after, "}")
		if !found {
			return "", must(`balanced in its braces`)
		}
		rest = after
		switch word {
		case wordNamespace:
			b.WriteString(escape(namespace))
		case wordWorkload:
			if workload.Name == "" {
				return "", cannot("use {workload}: the pod has neither an owner nor a name")
			}
			b.WriteString(escape(workload.Name))
		case wordPod:
			b.WriteString(reference(contract.PodNameEnv))
		case wordOrdinal:
			if workload.Kind != StatefulSet {
				return "", cannot("use {ordinal}: only the pods of a StatefulSet are numbered")
			}
			b.WriteString(reference(contract.OrdinalEnv))
		default:
			return "", oneOf("{"+word+"}", "{"+wordNamespace+"}", "{"+wordWorkload+"}", "{"+wordPod+"}", "{"+wordOrdinal+"}")
		}
	}
	prefix := strings.TrimSuffix(b.String(), "/") + "/"
	return prefix, checkPrefix(prefix)
}

func checkPrefix(prefix string) error {
	switch {
	case strings.HasPrefix(prefix, "/"):
		return must(`without a leading "/": keys in a bucket begin with a name`)
	case longest(prefix) > maxPrefix:
		return must("at most %d bytes long, where {pod} may become %d", maxPrefix, maxPodName)
	case !utf8.ValidString(prefix) || strings.ContainsFunc(prefix, unicode.IsControl):
		return must("UTF-8 text without control characters")
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(prefix, "/"), "/") {
		switch segment {
		case "", ".", "..":
			return must(`a path whose segments are not empty, "." or ".."`)
		case strings.TrimSuffix(contract.Reserved, "/"):
			return must("outside %s, which belongs to minio-sidecar itself", contract.Reserved)
		}
	}
	return nil
}

// PrefixUses reports whether the prefix refers to the environment variable name.
func (s Settings) PrefixUses(name string) bool {
	// Escaped dollars go first, or "$$(NAME)" would look like a reference.
	return strings.Contains(strings.ReplaceAll(s.Prefix, "$$", ""), reference(name))
}
