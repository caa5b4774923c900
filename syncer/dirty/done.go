package dirty

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// Outcome is how a look at a path ended.
type Outcome uint8

const (
	// Settled: nothing is left to do for this path.
	Settled Outcome = iota
	// Published: as Settled, and it was uploaded; it rests longer next time.
	Published
	// Retry: it failed; look again after a backoff.
	Retry
	// Blocked: as Retry; what is in its way may be a held deletion, which
	// therefore does not wait for it.
	Blocked
	// Unrest: it changed while it was read; look again after a quiet time.
	Unrest
	// Hold: it would be deleted; wait until [Set.Release].
	Hold
)

// Done ends the look that Next began. reason says why the path is still
// pending, for people.
func (s *Set) Done(key string, outcome Outcome, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[key]
	if it == nil || !it.flying {
		return
	}
	it.flying = false
	s.flying--
	if outcome != Hold { // a deletion is judged by what the listing said
		it.Remote = nil
	}
	it.reason = reason
	it.blocked = outcome == Blocked
	now := time.Now()
	switch outcome {
	case Settled, Published:
		heat := it.heat
		if outcome == Published {
			heat++
			s.remember(key, now, heat)
		}
		if !it.again {
			s.remove(it)
			return
		}
		it.Work = Work{Key: key, Since: now, Witnessed: it.Witnessed}
		it.seq = it.nextSeq
		it.heat, it.restless, it.stirred = heat, false, now
		s.schedule(it, s.restUntil(it, maxTime(it.touched, now.Add(-quietMax))))
	case Retry, Blocked:
		it.Attempts++
		it.waits = true
		s.schedule(it, now.Add(backoff(it.Attempts)))
	case Unrest:
		it.heat++
		it.waits = true
		if it.Restless { // the next look without rest is a RestlessAfter away
			it.restless, it.stirred = true, now
		}
		s.schedule(it, now.Add(quiet(it.heat)))
	case Hold:
		if it.again {
			s.schedule(it, now)
			return
		}
		it.held, it.heldAt = true, now
		s.held++
	}
	s.notify()
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func backoff(attempts int) time.Duration {
	d := min(retryMin<<min(attempts-1, 16), retryMax)
	return d/2 + rand.N(d/2+1)
}

func (s *Set) remember(key string, now time.Time, heat int) {
	if len(s.recent) >= recentMax {
		for k, p := range s.recent {
			if now.Sub(p.at) > 8*quiet(p.heat) {
				delete(s.recent, k)
			}
		}
		if len(s.recent) >= recentMax {
			clear(s.recent)
		}
	}
	s.recent[key] = published{at: now, heat: heat}
}

func (s *Set) remove(it *item) {
	delete(s.items, it.Key)
	s.notify()
}

func (s *Set) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Set) unhold(it *item) {
	it.MayDelete = false
	if it.held {
		it.held = false
		s.held--
	}
}

// Held describes the deletions that wait.
type Held struct {
	Keys      int
	Witnessed bool      // a file event named every one of them
	First     time.Time // when the longest-held began to wait
	Last      time.Time
	// Awaited: paths that became dirty before Last are still under way. One
	// of them may be the new name of a file that a held deletion is the old
	// name of, so the deletions wait for them.
	Awaited bool
}

// Held returns what is held now.
func (s *Set) Held() Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := Held{Keys: s.held, Witnessed: true}
	if s.held == 0 {
		return h
	}
	for _, it := range s.items {
		if !it.held {
			continue
		}
		if h.First.IsZero() || it.heldAt.Before(h.First) {
			h.First = it.heldAt
		}
		h.Last = maxTime(h.Last, it.heldAt)
		h.Witnessed = h.Witnessed && it.Witnessed
	}
	for _, it := range s.items {
		if !it.held && !it.MayDelete && !it.restless && !it.blocked && !it.Since.After(h.Last) {
			h.Awaited = true
			break
		}
	}
	return h
}

// Release lets every held deletion go.
func (s *Set) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, it := range s.items {
		if it.held {
			s.unhold(it)
			it.MayDelete = true
			s.schedule(it, now)
		}
	}
}

// Len is the number of dirty paths, held ones included.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items)
}

// Mark is a moment in the set's history; see [Set.Wait].
func (s *Set) Mark() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq
}

// Wait returns once no path is left that became dirty at or before mark. With held true it returns as well when only held deletions are.
func (s *Set) Wait(ctx context.Context, mark uint64, held bool) error {
	for {
		s.mu.Lock()
		changed, left := s.changed, s.left(mark, held)
		s.mu.Unlock()
		if !left {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Left reports whether a path that became dirty at or before mark still is.
func (s *Set) Left(mark uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left(mark, false)
}

func (s *Set) left(mark uint64, held bool) bool {
	for _, it := range s.items {
		if it.seq <= mark && !(held && it.held) {
			return true
		}
	}
	return false
}

// Pending is one dirty path, for people.
type Pending struct {
	Key    string
	Since  time.Time
	Reason string
}

// Oldest returns the paths that have been dirty longest, at most n, and since
// when the oldest is.
func (s *Set) Oldest(n int) (list []Pending, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.items {
		p := Pending{Key: it.Key, Since: it.Since, Reason: it.reason}
		if p.Reason == "" {
			p.Reason = "waiting"
		}
		at, _ := slices.BinarySearchFunc(list, p, func(a, b Pending) int {
			return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Key, b.Key))
		})
		if at >= n {
			continue
		}
		list = slices.Insert(list, at, p)
		list = list[:min(len(list), n)]
	}
	if len(list) > 0 {
		since = list[0].Since
	}
	return list, since
}
