package syncer

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

const (
	// shownPaths is how many pending paths a status names.
	shownPaths = 20
	// shownUnsyncable is how many that cannot be synced. Those do not go away
	// by themselves: somebody has to find them.
	shownUnsyncable = 100
)

// state is what the engine says of itself, beside what the dirty set knows.
type state struct {
	mu         sync.Mutex
	holder     string // the path that met the condition, if it was one
	s          status.Status
	unsyncable *unsyncables
	// degraded says why some folders are not watched, and how many.
	degraded func() (reason string, folders int)
	waiting  string // for what deletions wait, if they do for long
}

func newState() *state {
	return &state{
		s:          status.Status{Phase: status.Starting, Condition: status.OK, Since: time.Now()},
		unsyncable: newUnsyncables(),
	}
}

func (s *state) snapshot() status.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := s.s
	snap.OtherWriters = slices.Clone(snap.OtherWriters)
	snap.Notes = slices.Clone(snap.Notes)
	if s.degraded != nil {
		if reason, folders := s.degraded(); reason != "" {
			snap.Notes = append(snap.Notes, fmt.Sprintf("%d folders are scanned instead of watched: %s", folders, reason))
		}
	}
	if s.waiting != "" {
		snap.Notes = append(snap.Notes, s.waiting)
	}
	snap.Unsyncable, snap.UnsyncableByReason, snap.UnsyncablePaths = s.unsyncable.report(shownUnsyncable)
	if n := snap.HardLinks; n > 0 {
		snap.Notes = append(snap.Notes, fmt.Sprintf("%d paths are hard links: each is an object of its own in the bucket, "+
			"and a restore makes files of their own of them", n))
	}
	return snap
}

func (s *state) update(f func(*status.Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.s)
}

// note has the status say text, once.
func (s *state) note(text string) {
	s.update(func(st *status.Status) {
		if !slices.Contains(st.Notes, text) {
			st.Notes = append(st.Notes, text)
		}
	})
}

// held says what deletions have been waiting for, "" when they do not.
func (s *state) held(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = why
}

func (s *state) watching(degraded func() (string, int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.degraded = degraded
}

func (s *state) phase(p status.Phase) { s.update(func(st *status.Status) { st.Phase = p }) }

// fail sets the condition that err stands for and reports whether that is news.
func (s *state) fail(err error) bool { return s.failAt("", err) }

// failAt is fail for a condition that one path met, in the volume or in its
// object. It lasts until that path got over it, whatever the store says to
// others meanwhile.
func (s *state) failAt(key string, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holder = key
	c := conditionOf(err)
	news := s.s.Condition != c
	if news {
		s.s.Since = time.Now()
	}
	s.s.Condition, s.s.Message = c, err.Error()
	return news
}

// ok clears the condition and reports whether there was one.
func (s *state) ok() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s.Condition == status.OK || s.holder != "" {
		return false
	}
	s.s.Condition, s.s.Message, s.s.Since = status.OK, "", time.Now()
	return true
}

// over says that the path got over what it met.
func (s *state) over(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holder == key {
		s.holder = ""
		s.s.Condition, s.s.Message, s.s.Since = status.OK, "", time.Now()
	}
}

// holds reports whether the condition is that of key.
func (s *state) holds(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holder == key
}

// unsync notes that key cannot be synced, and what the volume has of it.
func (s *state) unsync(key, reason string, h holding) told {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsyncable.put(key, reason, h)
}

// unsynced takes the note away, and reports whether key was named.
func (s *state) unsynced(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsyncable.drop(key)
}

func (s *state) isUnsyncable(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsyncable.has(key)
}

// scanBegins and scanComplete: see [unsyncables].
func (s *state) scanBegins() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsyncable.begin()
}

func (s *state) scanComplete(scan uint32, listed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsyncable.complete(scan, listed)
}

// unsyncableInVolume are the keys below dir that were noted for what the volume has.
func (s *state) unsyncableInVolume(dir string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsyncable.inVolume(dir)
}

// unsyncableInBucket are the keys that were noted for what the bucket has, and
// that a listing yields.
func (s *state) unsyncableInBucket() map[string]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := map[string]struct{}{}
	for key, n := range s.unsyncable.named {
		if !n.here && tree.ValidKey(key) == nil {
			keys[key] = struct{}{}
		}
	}
	return keys
}

// unsyncablePaths are all that are named, and how many are not.
func (s *state) unsyncablePaths() (paths []status.PathReason, more int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	total, _, paths := s.unsyncable.report(namedMax)
	return paths, total - int64(len(paths))
}

// missing are the paths that cannot be synced although the volume has what the
// bucket has not: how many, and the first few.
func (s *state) missing() (total int64, paths []status.PathReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsyncable.missing(shownPaths)
}

// hardLinks notes how many there are, and reports whether that is news.
func (s *state) hardLinks(n int64) (news bool) {
	s.update(func(st *status.Status) { news, st.HardLinks = st.HardLinks != n, n })
	return news
}

// expected counts an entry that is to be brought from the bucket.
func (s *state) expected(bytes int64) {
	s.update(func(st *status.Status) {
		st.Progress.FilesTotal++
		st.Progress.BytesTotal += bytes
	})
}

// transferred counts an entry that was brought to where it belongs.
func (s *state) transferred(bytes int64) {
	s.update(func(st *status.Status) {
		st.Progress.FilesDone++
		st.Progress.BytesDone += bytes
	})
}
