package record

import (
	"slices"
	"strings"
)

// Returned leaves out of a list what another volume can have brought back
// without knowing better: its syncer was killed between giving a file its path
// and the note of where that came from. What it has then is new to it, and an
// edit beats a deletion; against another content it is a conflict. That can be
// so with states since the last Forget, when all volumes agreed. found is where
// the list is from.
func (r *Record) Returned(list []Violation, found map[string]State) []Violation {
	back := map[string]bool{}
	for _, v := range list {
		if r.returned(v, found) {
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

func (r *Record) returned(v Violation, found map[string]State) bool {
	if of, isCopy := Original(v.Path); isCopy && len(r.paths[v.Path]) == 0 {
		return r.recently(of, v.Found) || r.State(of) == v.Found
	}
	if v.Found.Kind == Absent || !r.recently(v.Path, v.Found) {
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

// recently reports whether path has come to be in state f since the last Forget.
func (r *Record) recently(path string, f State) bool {
	return slices.ContainsFunc(r.paths[path], func(e entry) bool { return e.moment > r.begun && e.state == f })
}

func keys(set map[string]bool) (list []string) {
	for k := range set {
		list = append(list, k)
	}
	return list
}
