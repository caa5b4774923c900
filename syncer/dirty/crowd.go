package dirty

import (
	"context"
	"hash/maphash"
	"iter"
	"time"
)

// heldMax is how many held deletions are kept as they are. When a volume is
// emptied there may be a million, which wait for a person. Of those beyond
// heldMax the set keeps a fingerprint of the key, less than forty bytes in all
// instead of more than four hundred: enough to count them, to know one again,
// and to find them all among the keys of the base, since only what is in the
// base can be deleted.
const heldMax = 10_000

// crowd is a set of held deletions without their keys. Two of a million keys
// have the same fingerprint once in thirty million times; then one is not
// counted, and may be let go together with the other.
type crowd struct {
	// absent are those of which a listing said that the bucket has no such
	// object. This has to be remembered: nothing else tells them from files
	// that are as they were.
	present, absent map[uint64]struct{}
	// Of all that came since it was empty: the earliest, and the last.
	seq         uint64
	since       time.Time
	first, last time.Time // of the times at which they began to be held
}

func (c *crowd) len() int { return len(c.present) + len(c.absent) }

// heldBy reports whether there are some, which all began to be held by then.
func (c *crowd) heldBy(by time.Time) bool { return c.len() > 0 && !c.last.After(by) }

func (c *crowd) has(print uint64) (absent, ok bool) {
	if _, ok = c.present[print]; ok {
		return false, true
	}
	_, ok = c.absent[print]
	return ok, ok
}

func (c *crowd) put(print uint64, absent bool) {
	into := &c.present
	if absent {
		into = &c.absent
	}
	if *into == nil {
		*into = map[uint64]struct{}{}
	}
	(*into)[print] = struct{}{}
}

// take removes one; an empty crowd gives its memory back.
func (c *crowd) take(print uint64) (absent, ok bool) {
	if absent, ok = c.has(print); !ok {
		return false, false
	}
	delete(c.present, print)
	delete(c.absent, print)
	if c.len() == 0 {
		*c = crowd{}
	}
	return absent, true
}

// span makes the crowd's times those of others as well.
func (c *crowd) span(o crowd) {
	if c.first.IsZero() {
		c.seq, c.since, c.first, c.last = o.seq, o.since, o.first, o.last
		return
	}
	c.seq = min(c.seq, o.seq)
	c.since = earlier(c.since, o.since)
	c.first, c.last = earlier(c.first, o.first), later(c.last, o.last)
}

// join takes over all of o.
func (c *crowd) join(o crowd) {
	switch {
	case o.len() == 0:
		return
	case c.len() == 0: // no copy, which would take as much again
		*c = o
		return
	}
	for print := range o.present {
		c.put(print, false)
	}
	for print := range o.absent {
		c.put(print, true)
	}
	c.span(o)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (s *Set) print(key string) uint64 { return maphash.String(s.seed, key) }

// crush keeps of a held deletion that nothing is to be done about just now no
// more than that it is one.
func (s *Set) crush(it *item) {
	s.unhold(it)
	delete(s.items, it.Key)
	s.crushed.span(crowd{seq: it.seq, since: it.Since, first: it.heldAt, last: it.heldAt})
	s.crushed.put(s.print(it.Key), it.Remote.absent())
}

// revive makes it, which is new, what the set knows of its key from a crowd.
func (s *Set) revive(it *item) {
	print := s.print(it.Key)
	from := s.crushed
	absent, ok := s.crushed.take(print)
	if ok {
		// It may be the one that came last; and the list is in order.
		it.heldAt = from.last
		if back := s.held.Back(); back != nil {
			it.heldAt = later(it.heldAt, back.Value.(*item).heldAt)
		}
		it.held = s.held.PushBack(it)
		s.unseen++
	} else {
		from = s.released
		if absent, ok = s.released.take(print); !ok {
			return
		}
		it.MayDelete = true
	}
	it.seq, it.Since = from.seq, from.since
	if absent {
		it.Remote = &Remote{}
	}
}

// ReleaseRest completes a [Set.Release]. Where there were too many held
// deletions to keep their keys it looks for them among keys, which are those
// of the base, and waits while the set is full. It ends early with an error of
// keys or of ctx; what it had not found by then is held again.
func (s *Set) ReleaseRest(ctx context.Context, keys iter.Seq2[string, error]) error {
	if s.restLeft() == 0 {
		return nil
	}
	err := s.releaseEach(ctx, keys)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.crushed.join(s.released)
	}
	s.released = crowd{} // without an error: nobody has an object of these any more
	s.notify()
	return err
}

func (s *Set) restLeft() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.released.len()
}

func (s *Set) releaseEach(ctx context.Context, keys iter.Seq2[string, error]) error {
	for key, err := range keys {
		if err != nil {
			return err
		}
		left, err := s.releaseOne(ctx, key)
		if err != nil || left == 0 {
			return err
		}
	}
	return nil
}

// releaseOne makes key due if it is one of those that were let go, and returns
// how many are left.
func (s *Set) releaseOne(ctx context.Context, key string) (left int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	print := s.print(key)
	for {
		if _, ok := s.released.has(print); !ok {
			return s.released.len(), nil
		}
		if !s.full() {
			break
		}
		if err := s.wait(ctx); err != nil {
			return 0, err
		}
	}
	now := time.Now()
	s.schedule(s.fresh(key, now), now)
	return s.released.len(), nil
}

// Holds reports whether the deletion of key is held already that a pass has found
// which knows this of the bucket. Then there is nothing new to be looked at, and
// of a million there would be a million looks after each listing.
func (s *Set) Holds(key string, remote *Remote) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.items[key]; it != nil {
		return it.held != nil && it.index < 0 && !it.flying && it.Remote.absent() == remote.absent()
	}
	absent, ok := s.crushed.has(s.print(key))
	return ok && absent == remote.absent()
}

// Recheck says that a scan found no difference at key. If its deletion is held,
// what was gone is back as it was, and it is looked at once more.
func (s *Set) Recheck(ctx context.Context, key string) error {
	if !s.holds(key) {
		return nil
	}
	return s.Found(ctx, key, nil)
}

func (s *Set) holds(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held.Len() == 0 && s.crushed.len() == 0 {
		return false
	}
	if it := s.items[key]; it != nil {
		return it.held != nil
	}
	_, ok := s.crushed.has(s.print(key))
	return ok
}
