package plan

import (
	"fmt"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// Filter says which paths take part. A pattern that matches a folder holds
// for everything below it, and one that matches a file for the conflict copies
// of it; exclude wins over include. A path that does not
// take part is neither written nor deleted on either side: a filter never
// deletes what it hides.
type Filter struct {
	include, exclude []string
}

// NewFilter checks the patterns; they are doublestar globs over the path
// relative to the volume's root. A '/' at either end is taken for what people
// mean by it: "from the root", and "a folder".
func NewFilter(include, exclude []string) (Filter, error) {
	in, err := globs(include)
	if err != nil {
		return Filter{}, err
	}
	out, err := globs(exclude)
	return Filter{include: in, exclude: out}, err
}

func globs(patterns []string) ([]string, error) {
	var list []string
	for _, p := range patterns {
		glob := strings.Trim(p, "/")
		if glob == "" || !doublestar.ValidatePattern(glob) {
			return nil, fmt.Errorf("pattern %q is not a glob: see the doublestar syntax, such as **/*.log", p)
		}
		list = append(list, glob)
	}
	return list, nil
}

// ShowsAll reports whether there are no patterns.
func (f Filter) ShowsAll() bool { return len(f.include) == 0 && len(f.exclude) == 0 }

// Match reports whether the path of key takes part. The reserved folder never does.
func (f Filter) Match(key string) bool {
	if isReserved(key) {
		return false
	}
	if f.ShowsAll() {
		return true
	}
	p := entry.Path(key)
	return !matches(f.exclude, p) && (len(f.include) == 0 || matches(f.include, p))
}

func isReserved(key string) bool {
	return entry.Path(key)+"/" == contract.Reserved || strings.HasPrefix(key, contract.Reserved)
}

func matches(patterns []string, p string) bool {
	if matchSelfOrParent(patterns, p) {
		return true
	}
	original := ConflictOf(p)
	return original != p && matchSelfOrParent(patterns, original)
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
