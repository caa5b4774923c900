package tree

import (
	"fmt"
	"strings"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// maxName is the longest name of a directory entry that Linux file systems take.
const maxName = 255

// reservedName is the reserved folder's name at the root of the volume.
var reservedName = strings.TrimSuffix(contract.Reserved, "/")

// ValidKey returns nil if key can be a path in a volume, with one '/' at the
// end for a directory, and otherwise an error that is [ErrInvalidKey] and says
// why not. What passes names something inside the volume that is not in the
// reserved folder, however it is joined to the root.
func ValidKey(key string) error {
	if reason := invalid(key); reason != "" {
		return fmt.Errorf("%w: %q: %s", ErrInvalidKey, key, reason)
	}
	return nil
}

func invalid(key string) string {
	path := strings.TrimSuffix(key, "/")
	switch {
	case key == "":
		return "it is empty"
	case strings.HasPrefix(key, "/"):
		return "it begins with /"
	case strings.IndexByte(key, 0) >= 0:
		return "it has a NUL byte"
	}
	first := true
	for more := true; more; first = false {
		var name string
		name, path, more = strings.Cut(path, "/")
		switch {
		case name == "":
			return "it has an empty segment (//)"
		case name == "." || name == "..":
			return "it has a segment " + name
		case len(name) > maxName:
			return fmt.Sprintf("a segment is longer than %d bytes", maxName)
		case first && name == reservedName:
			return contract.Reserved + " belongs to minio-sidecar"
		}
	}
	return ""
}
