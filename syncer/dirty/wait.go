package dirty

import (
	"cmp"
	"context"
	"slices"
	"time"
)

func (s *Set) hold(it *item, now time.Time) {
	it.heldAt = now
	it.held = s.held.PushBack(it)
	if !it.Witnessed {
		s.unseen++
	}
}

func (s *Set) unhold(it *item) {
	if it.held == nil {
		return
	}
	s.held.Remove(it.held)
	it.held = nil
	if !it.Witnessed {
		s.unseen--
	}
}

// Held describes the deletions that wait. One that is looked at again, because
// there is something new about it, is among them until that look has ended.
type Held struct {
	Keys      int
	Witnessed bool      // a file event named every one of them
	First     time.Time // when the longest-held began to wait
	Last      time.Time
	// Awaited is a path that became dirty before Last and is still under way,
	// "" if there is none. It may be the new name of a file that a held deletion
	// is the old name of, so the deletions wait for it.
	Awaited string
	// Ripe is for [Set.Release]: what began to wait by then does not wait for
	// any such path; zero where that is none of them. Where there is always
	// something under way the older deletions have their turn all the same.
	Ripe time.Time
}

// Held returns what is held now.
func (s *Set) Held() Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := Held{Keys: s.held.Len() + s.crushed.len(), Witnessed: s.unseen == 0 && s.crushed.len() == 0}
	if h.Keys == 0 {
		return h
	}
	known := s.crushed
	if s.held.Len() > 0 {
		known.span(crowd{first: s.held.Front().Value.(*item).heldAt, last: s.held.Back().Value.(*item).heldAt})
	}
	h.First, h.Last, h.Ripe = known.first, known.last, known.last
	awaited := func(it *item) bool {
		if it.held == nil && !it.MayDelete && !it.restless && !it.blocked && it.failures < failuresMax &&
			!it.Since.After(h.Ripe) {
			h.Awaited, h.Ripe = it.Key, it.Since.Add(-1)
		}
		return h.Ripe.Before(h.First) // the others make no difference
	}
	if s.flies(awaited) != nil || s.queued(awaited) != nil || !s.ripe(h.Ripe) {
		h.Ripe = time.Time{}
	}
	return h
}

// ripe reports whether there is something that Release lets go.
func (s *Set) ripe(by time.Time) bool {
	front := s.held.Front()
	return front != nil && !front.Value.(*item).heldAt.After(by) || s.crushed.heldBy(by)
}

// Deleting reports whether there are deletions that are held, or were let go
// and are not done.
func (s *Set) Deleting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	mayDelete := func(it *item) bool { return it.MayDelete }
	return s.held.Len()+s.crushed.len()+s.released.len() > 0 || cmp.Or(s.flies(mayDelete), s.queued(mayDelete)) != nil
}

// Waiting is how many paths are in a backoff.
func (s *Set) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// Scanned says that a scan that began at from has ended. Deletions that have
// come to be held since then count as held only now, so that they wait for all
// that it has found.
func (s *Set) Scanned(from time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for e := s.held.Back(); e != nil && !e.Value.(*item).heldAt.Before(from); e = e.Prev() {
		e.Value.(*item).heldAt = now
	}
	if s.crushed.len() > 0 && !s.crushed.last.Before(from) {
		s.crushed.last = now
	}
}

// Release lets the deletions go that began to wait by then. What came after
// whoever decides had looked is another decision. Where there are more than can
// be kept with their keys, all of those go or none, and [Set.ReleaseRest] is to
// follow.
func (s *Set) Release(by time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for front := s.held.Front(); front != nil; front = s.held.Front() {
		it := front.Value.(*item)
		if it.heldAt.After(by) { // the list is in order
			break
		}
		s.unhold(it)
		it.MayDelete = true
		if !it.flying {
			s.schedule(it, now)
		}
	}
	if s.crushed.heldBy(by) {
		s.released.join(s.crushed)
		s.crushed = crowd{}
	}
}

// Len is the number of dirty paths, held ones included.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items) + s.crushed.len() + s.released.len()
}

// Mark is a moment in the set's history; see [Set.Wait].
func (s *Set) Mark() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq
}

// Wait returns once no path is left that became dirty at or before mark. With
// held true it returns as well when only held deletions are.
func (s *Set) Wait(ctx context.Context, mark uint64, held bool) error {
	return s.waitFor(ctx, mark, but{held: held})
}

// WaitSent is Wait with held true, for all that is to get to the bucket.
func (s *Set) WaitSent(ctx context.Context, mark uint64) error {
	return s.waitFor(ctx, mark, but{held: true, missed: true})
}

// but is what does not count as left.
type but struct {
	held   bool // deletions that are held, and not about to be looked at again
	missed bool // what is to come from the bucket, and does not
}

func (s *Set) waitFor(ctx context.Context, mark uint64, but but) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left *item
	for {
		// Looking for one that is left may mean looking at all: while the one
		// that was found still is, there is no need to.
		if left == nil || s.items[left.Key] != left || !left.before(mark, but) {
			if left = s.left(mark, but); left == nil && !s.crowded(mark, but.held) {
				return nil
			}
		}
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
}

// Left reports whether a path that became dirty at or before mark still is.
func (s *Set) Left(mark uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left(mark, but{}) != nil || s.crowded(mark, false)
}

// Sent reports whether nothing is left that became dirty at or before mark and
// is to get to the bucket.
func (s *Set) Sent(mark uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left(mark, but{missed: true}) == nil && !s.crowded(mark, false)
}

// crowded is as left, for what is in the crowds. That of some it is not known
// since when they are dirty has who waits wait for all.
func (s *Set) crowded(mark uint64, held bool) bool {
	return s.released.len() > 0 && s.released.seq <= mark || !held && s.crushed.len() > 0 && s.crushed.seq <= mark
}

// before reports whether it became dirty at or before mark, and counts.
func (it *item) before(mark uint64, but but) bool {
	return it.seq <= mark && !(but.held && it.held != nil && it.index < 0 && !it.flying) &&
		!(but.missed && it.missed && (!it.flying || it.next == nil))
}

func (s *Set) left(mark uint64, but but) *item {
	before := func(it *item) bool { return it.before(mark, but) }
	if it := cmp.Or(s.flies(before), s.queued(before)); it != nil || but.held {
		return it
	}
	for e := s.held.Front(); e != nil; e = e.Next() {
		if it := e.Value.(*item); before(it) {
			return it
		}
	}
	return nil
}

func (s *Set) flies(f func(*item) bool) *item {
	for it := range s.flying {
		if f(it) {
			return it
		}
	}
	return nil
}

func (s *Set) queued(f func(*item) bool) *item {
	for _, it := range s.due {
		if f(it) {
			return it
		}
	}
	return nil
}

// full reports whether as many paths are waiting or under way as may be at a
// time. Held deletions that nothing is to be done about do not count, and of
// those in a backoff there may be more: they would keep a scan waiting for as
// long as they fail.
func (s *Set) full() bool { return s.active() >= s.limit || s.stuck() }

func (s *Set) stuck() bool { return s.waiting >= waitingMax*s.limit }

// Stuck reports whether so many paths are in a backoff that no others are taken.
func (s *Set) Stuck() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stuck()
}

func (s *Set) active() int { return len(s.due) - s.waiting + len(s.flying) }

// Room waits until there is room for touched paths: as much again as Found
// leaves, so that a scan that found a lot does not keep file events waiting.
func (s *Set) Room(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.active() >= 2*s.limit || s.waiting >= 2*waitingMax*s.limit {
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// wait lets go of the lock until something has changed.
func (s *Set) wait(ctx context.Context) error {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	changed := s.changed
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Set) notify() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Pending is one dirty path, for people.
type Pending struct {
	Key    string
	Since  time.Time
	Reason string
}

// Oldest returns the paths that have been dirty longest, at most n, and since
// when the oldest is. Held deletions are left out of the list where there are
// more than can be kept with their keys.
func (s *Set) Oldest(n int) (list []Pending, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range s.items {
		p := Pending{Key: it.Key, Since: it.Since, Reason: cmp.Or(it.reason, "waiting")}
		if len(list) == n && (n == 0 || !p.older(list[n-1])) {
			continue
		}
		at, _ := slices.BinarySearchFunc(list, p, func(a, b Pending) int {
			if a.older(b) {
				return -1
			}
			return 1
		})
		list = slices.Insert(list, at, p)
		list = list[:min(len(list), n)]
	}
	if len(list) > 0 {
		since = list[0].Since
	}
	for _, c := range []crowd{s.crushed, s.released} {
		if c.len() > 0 && (since.IsZero() || c.since.Before(since)) {
			since = c.since
		}
	}
	return list, since
}

func (p Pending) older(q Pending) bool {
	return cmp.Or(p.Since.Compare(q.Since), cmp.Compare(p.Key, q.Key)) < 0
}
