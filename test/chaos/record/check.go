package record

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Violation is a path that holds what it must not.
type Violation struct {
	Path  string
	What  string // a sentence
	Found State
}

func (v Violation) String() string {
	return fmt.Sprintf("%q: %s; found: %s", v.Path, v.What, v.Found)
}

// Check says what is wrong with a volume that was restored from the bucket.
// Each path must hold its acknowledged state or one that it really had since.
// A path that was renamed since may be absent only if the new name has it, and
// one whose deletion was acknowledged must be absent.
func (r *Record) Check(found map[string]State) []Violation {
	var list []Violation
	for _, path := range r.all(found) {
		f := found[path]
		if r.allowed(path, f, found) {
			continue
		}
		list = append(list, Violation{path, r.blame(path, f), f})
	}
	return list
}

// all are the paths that ever were, or were found, in order.
func (r *Record) all(found map[string]State) []string {
	set := map[string]struct{}{}
	for path := range r.paths {
		set[path] = struct{}{}
	}
	for path := range found {
		set[path] = struct{}{}
	}
	return slices.Sorted(maps.Keys(set))
}

func (r *Record) allowed(path string, f State, found map[string]State) bool {
	es := r.since(path)
	for _, e := range es {
		if e.state == f && (f.Kind != Absent || e.moment <= r.acked || r.arrived(e, found)) {
			return true
		}
	}
	// A folder is there because of what is in it, and then looks plain, as long
	// as its own object is not yet, or no more, in the bucket.
	return len(es) > 1 && implied(path, f, found) && has(es, Dir)
}

// arrived reports whether what e says was renamed away is at its new name, or
// has gone on from there.
func (r *Record) arrived(e entry, found map[string]State) bool {
	if e.to == "" {
		return true
	}
	f := found[e.to]
	for _, later := range r.paths[e.to] {
		if later.moment >= e.moment-1 && later.state == f && // to is entered just before from
			(f.Kind != Absent || r.arrived(later, found)) {
			return true
		}
	}
	return false
}

func implied(path string, f State, found map[string]State) bool {
	if f != (State{Kind: Dir, Perm: PlainDir}) {
		return false
	}
	for other := range found {
		if strings.HasPrefix(other, path+"/") {
			return true
		}
	}
	return false
}

func has(es []entry, k Kind) bool {
	return slices.ContainsFunc(es, func(e entry) bool { return e.state.Kind == k })
}

func (r *Record) blame(path string, f State) string {
	es := r.since(path)
	_, copied := Original(path)
	switch {
	case f.Kind == Absent && has(es, Absent):
		return fmt.Sprintf("renamed, and lost: it is at neither name (was %s)", es[0].state)
	case f.Kind == Absent:
		return fmt.Sprintf("lost: acknowledged as %s", es[0].state)
	case len(r.paths[path]) == 0 && copied:
		return "a conflict copy, though there is one writer that kept its volume and its state"
	case len(r.paths[path]) == 0:
		return "it never was"
	case len(es) == 1 && es[0].state.Kind == Absent:
		return "resurrected: its deletion was acknowledged"
	case r.ever(path, f):
		return fmt.Sprintf("older than what was acknowledged, %s", es[0].state)
	}
	return r.unreal(path, f)
}

func (r *Record) ever(path string, f State) bool {
	return slices.ContainsFunc(r.paths[path], func(e entry) bool { return e.state == f })
}

// unreal says what is wrong with a state that path never had.
func (r *Record) unreal(path string, f State) string {
	for _, e := range slices.Backward(r.paths[path]) {
		if s := e.state; s.Kind == f.Kind && s.Sum == f.Sum && s.Size == f.Size {
			return fmt.Sprintf("attributes that it never had with this content, such as %s", s)
		}
	}
	return "torn: it never was in this state"
}

// Whole says what is wrong with an object of that state at path, at any time:
// nil if path really had that state once.
func (r *Record) Whole(path string, f State) *Violation {
	if r.ever(path, f) {
		return nil
	}
	what := r.unreal(path, f)
	if len(r.paths[path]) == 0 {
		what = "an object for a path that never was"
	}
	return &Violation{path, what, f}
}

// Equal says where a volume or a bucket is not what the record says of now.
func (r *Record) Equal(found map[string]State) []Violation {
	var list []Violation
	for _, path := range r.all(found) {
		if f := found[path]; f != r.State(path) {
			list = append(list, Violation{path, fmt.Sprintf("is not %s", r.State(path)), f})
		}
	}
	return list
}

// Original is the path that a conflict copy is of.
func Original(path string) (string, bool) {
	m := conflict.FindStringSubmatch(path)
	if m == nil {
		return "", false
	}
	return m[1] + m[2], true
}

var conflict = regexp.MustCompile(`^(.*)\.conflict-[^/]*-\d{8}T\d{6}\.\d{3}Z(\.[^./]*)?$`)

// Recovered says what is wrong with a volume whose syncer lost its state and
// has come to terms with the bucket. Without a memory it cannot tell a
// deletion that is not yet in the bucket from a file that is new there, nor
// which of two contents is the newer state of the other. So such a deletion
// may be undone, and a change may end up beside the state that the bucket
// had, as a conflict copy. Nothing that the volume held may be gone.
func (r *Record) Recovered(found map[string]State) []Violation {
	copies := map[string][]State{}
	for path, s := range found {
		if of, ok := Original(path); ok && len(r.paths[path]) == 0 {
			copies[of] = append(copies[of], s)
		}
	}
	var list []Violation
	for _, path := range r.all(found) {
		if what := r.recovered(path, found, copies[path]); what != "" {
			list = append(list, Violation{path, what, found[path]})
		}
	}
	return list
}

func (r *Record) recovered(path string, found map[string]State, copies []State) string {
	f, now, es := found[path], r.State(path), r.since(path)
	had := slices.ContainsFunc(es, func(e entry) bool { return e.state == f })
	of, isCopy := Original(path)
	switch {
	case f == now:
		return ""
	case f.Kind == Absent:
		return fmt.Sprintf("gone from the volume, which held %s", now)
	case len(r.paths[path]) == 0 && isCopy:
		if !slices.ContainsFunc(r.since(of), func(e entry) bool { return e.state == f }) {
			return fmt.Sprintf("a conflict copy of what %q was not", of)
		}
		return ""
	case f.Kind == Dir && now.Kind != File && now.Kind != Link && has(es, Dir):
		return "" // of folders, attributes are all that can be lost
	case !had:
		return r.blame(path, f)
	case now.Kind == Absent:
		return "" // the deletion is undone
	case f.Kind == now.Kind && f.Sum == now.Sum && f.Size == now.Size:
		return "" // the content is the same, and whose attributes are newer nobody can know
	case slices.Contains(copies, now):
		return ""
	}
	return fmt.Sprintf("the volume held %s, which is gone", now)
}
