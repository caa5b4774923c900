package record

import (
	"slices"
	"strings"
)

// Returned leaves out of a list what another volume can have brought back
// without knowing better: its syncer was killed between giving a file its path
// and the note of where that came from. What it has then is new to it, and an
// edit beats a deletion; against another content it is a conflict. That can be
// so with states since the last Forget, when all volumes agreed; with what they
// agreed on as well if one of them has begun anew. found is where the list is
// from.
func (r *Record) Returned(list []Violation, found map[string]State, anew bool) []Violation {
	since := r.begun
	if anew {
		since = 0
	}
	back := map[string]bool{}
	for _, v := range list {
		if r.returned(v, found, since) {
			back[v.Path] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(v Violation) bool {
		if back[v.Path] {
			return true
		}
		below := func(path string) bool { return strings.HasPrefix(path, v.Path+"/") }
		return v.Found.Kind == Dir && r.State(v.Path).Kind == Absent && slices.ContainsFunc(keys(back), below)
	})
}

func (r *Record) returned(v Violation, found map[string]State, since Moment) bool {
	if of, isCopy := Original(v.Path); isCopy && len(r.paths[v.Path]) == 0 {
		return r.wasSince(of, v.Found, since) || r.State(of) == v.Found
	}
	if v.Found.Kind == Absent || !r.wasSince(v.Path, v.Found, since) {
		return false
	}
	now := r.State(v.Path)
	for path, f := range found {
		if of, isCopy := Original(path); isCopy && of == v.Path && f == now {
			return true
		}
	}
	return now.Kind == Absent
}

// wasSince reports whether path has come to be in state f after that moment.
func (r *Record) wasSince(path string, f State, since Moment) bool {
	return slices.ContainsFunc(r.paths[path], func(e entry) bool { return e.moment > since && e.state == f })
}

func keys(set map[string]bool) (list []string) {
	for k := range set {
		list = append(list, k)
	}
	return list
}
