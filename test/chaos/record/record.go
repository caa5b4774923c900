package record

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Moment numbers what happened, in order. 0 is before everything.
type Moment uint64

// Record is not safe for concurrent use.
type Record struct {
	now   Moment
	acked Moment
	paths map[string][]entry
	kinds map[string]map[Kind]bool // all that a path ever was
	notes []note
}

// entry is one state of a path, from moment on.
type entry struct {
	moment Moment
	at     time.Duration // since the beginning, for people
	state  State
	how    string
	// to: the path is absent because it was renamed to this one.
	to string
}

// note is something that happened to no path in particular.
type note struct {
	moment Moment
	at     time.Duration
	what   string
}

// New is an empty record of an empty volume and an empty bucket.
func New() *Record { return &Record{paths: map[string][]entry{}, kinds: map[string]map[Kind]bool{}} }

// Now is the moment of the last thing that happened.
func (r *Record) Now() Moment { return r.now }

// Was says that path came to be in state s.
func (r *Record) Was(at time.Duration, path string, s State, how string) {
	r.add(path, entry{at: at, state: s, how: how})
}

// Moved says that from was renamed to to, over whatever was there.
func (r *Record) Moved(at time.Duration, from, to string, how string) {
	s := r.State(from)
	r.add(to, entry{at: at, state: s, how: how})
	gone := entry{at: at, how: how}
	if s.Kind != Dir { // what is in a folder is moved by itself
		gone.to = to
	}
	r.add(from, gone)
}

func (r *Record) add(path string, e entry) {
	r.now++
	e.moment = r.now
	r.paths[path] = append(r.paths[path], e)
	if r.kinds[path] == nil {
		r.kinds[path] = map[Kind]bool{}
	}
	r.kinds[path][e.state.Kind] = true
}

// Note remembers a fault, a restart and the like, for the stories.
func (r *Record) Note(at time.Duration, what string) {
	r.now++
	r.notes = append(r.notes, note{r.now, at, what})
}

// Acknowledge says that all that had happened at moment is in the bucket.
func (r *Record) Acknowledge(at time.Duration, moment Moment, how string) {
	r.acked = max(r.acked, moment)
	r.Note(at, how)
}

// Acknowledged reports whether nothing happened since the last acknowledged
// moment but notes.
func (r *Record) Acknowledged() bool {
	for path := range r.paths {
		if len(r.since(path)) > 1 {
			return false
		}
	}
	return true
}

// Swapped reports whether a file or link became a folder, or the reverse, and
// that is not acknowledged.
func (r *Record) Swapped() bool {
	for path := range r.paths {
		if es := r.since(path); has(es, Dir) && (has(es, File) || has(es, Link)) {
			return true
		}
	}
	return false
}

// State is what path is now.
func (r *Record) State(path string) State {
	if es := r.paths[path]; len(es) > 0 {
		return es[len(es)-1].state
	}
	return State{}
}

// Paths are all that exist now, in order.
func (r *Record) Paths() []string {
	var list []string
	for path := range r.paths {
		if r.State(path).Kind != Absent {
			list = append(list, path)
		}
	}
	slices.Sort(list)
	return list
}

// Below are the paths in the folder and deeper that exist now, in order.
func (r *Record) Below(folder string) []string {
	return slices.DeleteFunc(r.Paths(), func(p string) bool { return !strings.HasPrefix(p, folder+"/") })
}

// EverWas reports whether path has ever been of that kind.
func (r *Record) EverWas(path string, k Kind) bool { return r.kinds[path][k] }

// since are the states that path has had since the acknowledged moment, that
// of that moment first.
func (r *Record) since(path string) []entry {
	es := r.paths[path]
	n, _ := slices.BinarySearchFunc(es, r.acked+1, func(e entry, m Moment) int { return int(e.moment) - int(m) })
	if n == 0 {
		return slices.Concat([]entry{{how: "the beginning"}}, es)
	}
	return es[n-1:]
}

// Became says that the volume holds what was found, and that this is what the
// bucket holds: after a restore, say. It is for after a [Record.Check].
func (r *Record) Became(at time.Duration, found map[string]State, how string) {
	for _, path := range slices.Sorted(maps.Keys(r.paths)) {
		if _, ok := found[path]; !ok && r.State(path).Kind != Absent {
			r.Was(at, path, State{}, how)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		if r.State(path) != found[path] {
			r.Was(at, path, found[path], how)
		}
	}
	r.Acknowledge(at, r.now, how)
}

// Forget drops what no check needs any more, if everything is acknowledged
// and the bucket holds nothing but the present.
func (r *Record) Forget() {
	const kept = 8 // notes, for the stories
	for path, es := range r.paths {
		last := es[len(es)-1]
		if last.moment > r.acked {
			continue
		}
		if r.paths[path] = []entry{last}; last.state.Kind == Absent {
			r.paths[path][0].to = ""
		}
	}
	r.notes = slices.Clone(r.notes[max(0, len(r.notes)-kept):])
}

// Acked is the last acknowledged moment.
func (r *Record) Acked() Moment { return r.acked }
