package record

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Shared is what the checker knows of files that the apps of several volumes
// write: for each write what was there in the writer's own volume, which is
// what the write takes the place of, and of nothing else. What two have made of
// the same state has to be kept twice, at the path and as a conflict copy.
//
// Each state has a content of its own. Moments are those of the writer's own
// [Record], which knows what is acknowledged. A Shared is not safe for
// concurrent use.
type Shared struct {
	paths map[string][]write
}

// write is what one app has done to a path.
type write struct {
	at     time.Duration
	writer string // empty: all volumes have agreed on it
	moment Moment
	before State
	after  State // absent: it was deleted
}

// NewShared knows of nothing yet.
func NewShared() *Shared { return &Shared{paths: map[string][]write{}} }

// Wrote says that writer's app has made after of before.
func (s *Shared) Wrote(at time.Duration, writer string, m Moment, path string, before, after State) {
	s.paths[path] = append(s.paths[path], write{at, writer, m, before, after})
}

// Agreed says that found is in the bucket and in all volumes, and that nobody
// holds, or is about to send, anything else. It is for after a Check.
func (s *Shared) Agreed(found map[string]State) {
	s.paths = map[string][]write{}
	for path, f := range found {
		s.paths[path] = []write{{after: f}}
	}
}

// Lost says that writer's volume is gone. What was not acknowledged may be in
// the bucket or not, whatever comes to be acknowledged later.
func (s *Shared) Lost(writer string, acked Moment) {
	for _, list := range s.paths {
		for i, w := range list {
			if w.writer == writer && w.moment > acked {
				list[i].moment = math.MaxUint64
			}
		}
	}
}

// Paths are those that all have agreed on, in order.
func (s *Shared) Paths() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.paths)), func(p string) bool { return s.paths[p][0].writer != "" })
}

// Check says what is wrong with what was found in the bucket at any time.
// acked is up to which of its moments each writer has been told that all is in
// the bucket, before that was looked at.
//
//   - Nothing is there that nobody wrote.
//   - A state that was acknowledged is at its path or in a conflict copy, or
//     so is what somebody made of it who had it, or that one has deleted it.
//   - A state that all had agreed on and of which somebody has made another,
//     or nothing, does not come back once that is acknowledged.
func (s *Shared) Check(found map[string]State, acked map[string]Moment) []Violation {
	copies := map[string][]State{}
	for path, f := range found {
		if of, ok := s.copyOf(path); ok {
			copies[of] = append(copies[of], f)
		}
	}
	var list []Violation
	for _, path := range s.all(found) {
		f := found[path]
		if v := s.Whole(path, f); v != nil && f.Kind != Absent {
			list = append(list, *v)
		}
		for _, w := range s.paths[path] {
			if w.acknowledged(acked) && w.after.Kind != Absent && !s.kept(path, w.after, f, copies[path]) {
				list = append(list, Violation{path, fmt.Sprintf("lost: acknowledged to %s was %s", w.name(), w.after), f})
			}
			if first := s.paths[path][0]; w.writer != "" && w.acknowledged(acked) &&
				f.Kind != Absent && first.writer == "" && f == first.after && w.before == f {
				list = append(list, Violation{path, fmt.Sprintf("came back, though %s had made of it %s", w.name(), w.after), f})
			}
		}
	}
	return list
}

func (s *Shared) all(found map[string]State) []string {
	set := map[string]struct{}{}
	for path := range s.paths {
		set[path] = struct{}{}
	}
	for path := range found {
		set[path] = struct{}{}
	}
	return slices.Sorted(maps.Keys(set))
}

func (w write) acknowledged(acked map[string]Moment) bool {
	return w.writer == "" || w.moment <= acked[w.writer]
}

func (w write) name() string {
	if w.writer == "" {
		return "all"
	}
	return w.writer
}

// kept reports whether state is in the bucket, or what was made of it is.
func (s *Shared) kept(path string, state, at State, copies []State) bool {
	if state == at || slices.Contains(copies, state) {
		return true
	}
	for _, w := range s.paths[path] {
		if w.before == state && (w.after.Kind == Absent || s.kept(path, w.after, at, copies)) {
			return true
		}
	}
	return false
}

// copyOf is the path that a conflict copy is of, if it is not one of those
// that all have agreed on, which are files like others. It may be a copy of a
// copy: where an app writes a file just as the syncer sets it aside, there are
// three states to be kept.
func (s *Shared) copyOf(path string) (string, bool) {
	of, is := path, false
	for len(s.paths[of]) == 0 {
		original, ok := Original(of)
		if !ok {
			break
		}
		of, is = original, true
	}
	return of, is
}

// Whole says what is wrong with an object, or file, of that state at path, at
// any time: nil if somebody made it.
func (s *Shared) Whole(path string, f State) *Violation {
	of, _ := s.copyOf(path)
	if slices.ContainsFunc(s.paths[of], func(w write) bool { return w.after == f }) {
		return nil
	}
	for _, w := range s.paths[of] {
		if w.after.Kind == f.Kind && w.after.Sum == f.Sum && w.after.Size == f.Size {
			return &Violation{path, fmt.Sprintf("attributes that it never had with this content, such as %s", w.after), f}
		}
	}
	return &Violation{path, "nobody wrote this", f}
}

// Story tells what was done to path since all agreed.
func (s *Shared) Story(path string) string {
	path, _ = s.copyOf(path)
	var b strings.Builder
	for _, w := range s.paths[path] {
		if w.writer == "" {
			fmt.Fprintf(&b, "  all agreed on %q: %s\n", path, w.after)
			continue
		}
		fmt.Fprintf(&b, "  %8.3fs %s #%d: %q was %s, and is %s\n", w.at.Seconds(), w.writer, w.moment, path, w.before, w.after)
	}
	if b.Len() == 0 {
		return "  nothing ever happened to it\n"
	}
	return b.String()
}
