package syncer

import (
	"fmt"
	"log/slog"
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
	mu  sync.Mutex
	log *slog.Logger
	s   status.Status
	// What is wrong, each nil if it is not; [state.tell] says which is told.
	store     *trouble // with the store, for all
	path      *trouble // with holder, in the volume or in its object
	holder    string
	unwritten error // why the base cannot be written

	unsyncable *unsyncables
	// degraded says why some folders are not watched, and how many.
	degraded func() (reason string, folders int)
	waiting  string // for what deletions wait, if they do for long
}

// trouble is a condition and the sentence that goes with it.
type trouble struct {
	condition status.Condition
	message   string
}

func newState(log *slog.Logger) *state {
	return &state{
		log:        log,
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

// tell has the status say the one thing that is wrong, and the log when that is
// another than before. What is wrong with the store comes first: as long as it
// lasts, mending the others brings nothing into the bucket.
func (s *state) tell() {
	now := trouble{condition: status.OK}
	switch {
	case s.store != nil:
		now = *s.store
	case s.unwritten != nil:
		now = trouble{status.StateUnwritable, unwrittenMessage(s.unwritten)}
	case s.path != nil:
		now = *s.path
	case s.s.HaltedDeletes > 0:
		now = trouble{status.Halted, haltedMessage(s.s.HaltedDeletes)}
	}
	was := s.s.Condition
	s.s.Condition, s.s.Message = now.condition, now.message
	if was == now.condition {
		return
	}
	s.s.Since = time.Now()
	if now.condition == status.OK {
		s.log.Info(conditionChanged, "condition", now.condition, "was", was)
	} else {
		s.log.Warn(conditionChanged, "condition", now.condition, "was", was, "message", now.message)
	}
}

// conditionChanged is what the log says: the last such line tells the state.
const conditionChanged = "condition changed"

func unwrittenMessage(err error) string {
	return fmt.Sprintf("%v; what is uploaded meanwhile is not acknowledged, all else waits, "+
		"and it goes on by itself when it can be written again", err)
}

// fail sets the condition that err stands for.
func (s *state) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store = &trouble{conditionOf(err), err.Error()}
	s.tell()
}

// failAt is fail for a condition that one path met, in the volume or in its
// object. It lasts until that path got over it, whatever the store says to
// others meanwhile.
func (s *state) failAt(key string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holder, s.path = key, &trouble{conditionOf(err), err.Error()}
	s.tell()
}

// ok says that the store takes part.
func (s *state) ok() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store = nil
	s.tell()
}

// over says that the path got over what it met.
func (s *state) over(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path != nil && s.holder == key {
		s.holder, s.path = "", nil
		s.tell()
	}
}

// unwritable notes why the base cannot be written, nil if it can.
func (s *state) unwritable(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unwritten = err
	s.tell()
}

// halt notes how many deletions are held back, and returns how many were.
func (s *state) halt(deletes int64) (before int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.s.HaltedDeletes = s.s.HaltedDeletes, deletes
	s.tell()
	return before
}

// holds reports whether the condition is that of key.
func (s *state) holds(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.path != nil && s.holder == key
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
