package plan

import (
	"fmt"
	"path"
	"slices"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// Filter says which paths take part. A pattern that matches a folder holds
// for everything below it; exclude wins over include. A path that does not
// take part is neither written nor deleted on either side: a filter never
// deletes what it hides.
type Filter struct {
	include, exclude []string
}

// NewFilter checks the patterns; they are doublestar globs over the path
// relative to the volume's root.
func NewFilter(include, exclude []string) (Filter, error) {
	for _, p := range slices.Concat(include, exclude) {
		if !doublestar.ValidatePattern(p) {
			return Filter{}, fmt.Errorf("pattern %q is not a glob: see the doublestar syntax, such as **/*.log", p)
		}
	}
	return Filter{include: include, exclude: exclude}, nil
}

// Match reports whether the path of key takes part. The reserved folder never does.
func (f Filter) Match(key string) bool {
	if isReserved(key) {
		return false
	}
	if len(f.include) == 0 && len(f.exclude) == 0 {
		return true
	}
	p := entry.Path(key)
	return !matchSelfOrParent(f.exclude, p) &&
		(len(f.include) == 0 || matchSelfOrParent(f.include, p))
}

func isReserved(key string) bool {
	const folder = contract.Reserved
	return len(key) >= len(folder)-1 && key[:len(folder)-1] == folder[:len(folder)-1] &&
		(len(key) == len(folder)-1 || key[len(folder)-1] == '/')
}

func matchSelfOrParent(patterns []string, p string) bool {
	if len(patterns) == 0 {
		return false
	}
	for ; p != "." && p != "/"; p = path.Dir(p) {
		for _, pattern := range patterns {
			if doublestar.MatchUnvalidated(pattern, p) {
				return true
			}
		}
	}
	return false
}
