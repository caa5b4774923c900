package syncer

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// shownPaths is how many paths a status names.
const shownPaths = 20

// state is what the engine says of itself, beside what the dirty set knows.
type state struct {
	mu         sync.Mutex
	s          status.Status
	unsyncable *unsyncables
	// degraded says why some folders are not watched, and how many.
	degraded func() (reason string, folders int)
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
	snap.Unsyncable, snap.UnsyncableByReason, snap.UnsyncablePaths = s.unsyncable.report(shownPaths)
	return snap
}

func (s *state) update(f func(*status.Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.s)
}

func (s *state) watching(degraded func() (string, int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.degraded = degraded
}

func (s *state) phase(p status.Phase) { s.update(func(st *status.Status) { st.Phase = p }) }

// fail sets the condition that err stands for and reports whether that is news.
func (s *state) fail(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
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
	if s.s.Condition == status.OK {
		return false
	}
	s.s.Condition, s.s.Message, s.s.Since = status.OK, "", time.Now()
	return true
}

// unsync notes that key cannot be synced; "" takes the note away.
func (s *state) unsync(key, reason string) told {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reason == "" {
		s.unsyncable.drop(key)
		return oldNews
	}
	return s.unsyncable.put(key, reason)
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
