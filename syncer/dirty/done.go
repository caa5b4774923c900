package dirty

import (
	"math/rand/v2"
	"time"
)

// Outcome is how a look at a path ended.
type Outcome uint8

const (
	// Settled: nothing is left to do for this path.
	Settled Outcome = iota
	// Published: as Settled, and it was uploaded; it is not uploaded again
	// for a while, which is longer each time.
	Published
	// Retry: it could not be done now, as nothing could; look again after a
	// backoff.
	Retry
	// Failed: as Retry, for a reason of its own or for want of room. Deletions
	// wait for it a few times, not for ever.
	Failed
	// Deferred: as Failed, but it was not even tried, because others have failed
	// just so: it is no attempt.
	Deferred
	// Missed: as Failed, and it was something of the bucket's that could not be
	// brought, so that who waits for what is to get there does not wait for it.
	Missed
	// Blocked: as Retry; what is in its way may be a held deletion, which
	// therefore does not wait for it.
	Blocked
	// Unrest: it changed while it was read; look again after a quiet time.
	Unrest
	// Advanced: as Unrest, but what it held when the look began was published.
	Advanced
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
	delete(s.flying, it)
	defer s.notify()
	now := time.Now()
	if outcome != Hold {
		s.unhold(it)
	}
	if outcome == Settled || outcome == Published {
		s.settle(it, outcome == Published, now)
		return
	}

	news := it.next
	s.learn(it)
	it.reason = reason
	it.blocked, it.missed = outcome == Blocked, news == nil && (outcome == Missed || outcome == Deferred && it.missed)
	switch outcome {
	case Retry, Failed, Deferred, Missed, Blocked:
		if outcome != Deferred {
			it.Attempts++
		}
		if outcome == Failed || outcome == Deferred || outcome == Missed {
			it.failures++
		}
		s.waits(it)
		s.schedule(it, now.Add(backoff(max(it.Attempts, it.failures))))
	case Unrest, Advanced:
		it.Unrests++
		if outcome == Advanced { // who waits for what was there before the look is served
			s.advance(it, news, now)
		}
		if it.Restless { // the next look without rest is as far away
			it.restless, it.stirred = true, now
		} else {
			it.pace.need++
		}
		s.waits(it)
		it.due = now.Add(quiet(it.pace.need))
		s.schedule(it, s.rest(it))
	case Hold:
		switch {
		case it.MayDelete: // let go while it was looked at
			s.schedule(it, now)
			return
		case it.held == nil:
			s.hold(it, now)
		}
		switch {
		case news != nil:
			s.schedule(it, s.rest(it))
		case s.held.Len() > s.heldMax:
			s.crush(it)
		}
	}
}

// waits marks it, which has just been looked at, as in a backoff.
func (s *Set) waits(it *item) {
	it.waits = true
	s.waiting++
}

// advance makes it as recently dirty as what is left of it to publish.
func (s *Set) advance(it, news *item, now time.Time) {
	if news != nil {
		it.seq, it.Since = news.seq, news.Since
		return
	}
	s.seq++
	it.seq, it.Since = s.seq, now
}

// settle replaces it by what came to be known meanwhile, if anything.
func (s *Set) settle(it *item, published bool, now time.Time) {
	if published {
		it.pace.heat++
		it.pace.need = max(it.pace.need-1, 0)
		it.pace.published = now
		s.remember(it.Key, it.pace, now)
	}
	if it.next == nil {
		delete(s.items, it.Key)
		return
	}
	it.next.pace = it.pace
	s.items[it.Key] = it.next
	s.schedule(it.next, s.rest(it.next))
}

// learn takes over what came to be known while it was looked at.
func (s *Set) learn(it *item) {
	next := it.next
	it.next = nil
	if next == nil {
		return
	}
	it.touched = later(it.touched, next.touched)
	if next.Witnessed {
		s.witness(it)
		it.MayDelete = false
	}
	if next.Remote != nil {
		it.Remote = next.Remote
	}
}

func backoff(attempts int) time.Duration {
	d := min(retryMin<<min(attempts-1, 16), retryMax)
	return d/2 + rand.N(d/2+1)
}

// remember keeps the pace of a path until it has cooled down. Most of what is
// published never is again, so now and then all that has cooled down goes.
func (s *Set) remember(key string, p pace, now time.Time) {
	if len(s.recent) >= recentMax {
		for k, p := range s.recent {
			if p.stale(now) {
				delete(s.recent, k)
			}
		}
		if len(s.recent) > recentMax/2 { // or it would be looked through at each publication
			clear(s.recent)
		}
	}
	s.recent[key] = p
}
