package dirty_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
)

// waits starts a Wait and reports, whenever asked, whether it has ended.
func (b bench) waits(mark uint64, held bool) (ended func() bool) {
	done := make(chan error, 1)
	go func() { done <- b.Wait(b.t.Context(), mark, held) }()
	return func() bool {
		synctest.Wait()
		return len(done) > 0
	}
}

func TestWait(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		if !b.waits(b.Mark(), false)() {
			t.Error("nothing is dirty")
		}
		b.Touch("a")
		b.Touch("b")
		mark := b.Mark()
		b.Touch("late")
		ended := b.waits(mark, false)
		for _, key := range []string{"a", "b"} {
			if ended() || !b.Left(mark) {
				t.Fatalf("it has ended before %s", key)
			}
			b.Touch(key) // more of it does not make it less dirty
			if b.next().Key == "late" {
				b.next()
			}
			b.Done(key, dirty.Settled, "")
		}
		if !ended() || b.Left(mark) {
			t.Error("it does not end")
		}
	})
}

// What was written while a path was being looked at is not covered by that look.
func TestWaitForWhatCameWhileFlying(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Touch("a")
		b.next()
		b.Touch("a")
		ended := b.waits(b.Mark(), false)
		b.Done("a", dirty.Published, "")
		if ended() {
			t.Fatal("the second write is not in the bucket")
		}
		b.next()
		b.Touch("a") // after the mark
		b.Done("a", dirty.Published, "")
		if !ended() {
			t.Error("it waits for what came later")
		}
	})
}

// What does not come from the bucket keeps nobody waiting who wants to know what
// is there; news of the path do.
func TestWaitSent(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.fails("in", dirty.Missed, 1)
		sent := func(want bool, when string) {
			t.Helper()
			done := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
			defer cancel()
			go func() { done <- b.WaitSent(ctx, b.Mark()) }()
			if ended := <-done == nil; ended != want || b.Sent(b.Mark()) != want {
				t.Errorf("%s: %v, %v", when, ended, b.Sent(b.Mark()))
			}
			if !b.Left(b.Mark()) {
				t.Errorf("%s: it is not left", when)
			}
		}
		sent(true, "missed")
		b.found("in", remote("2"))
		sent(true, "listed again")
		b.next()
		sent(true, "looked at again")
		b.Touch("in")
		sent(false, "touched meanwhile")
		b.Done("in", dirty.Missed, "")
		sent(false, "there is news")
		b.next()
		b.Done("in", dirty.Missed, "")
		sent(true, "none any more")
		b.found("in", nil)
		sent(false, "the volume differs")
		b.next()
		b.Done("in", dirty.Missed, "")
		sent(true, "missed again")
		b.Touch("out")
		sent(false, "something else")
	})
}

// What a look gives rise to is waited for by those who wait for the look.
func TestTouchFor(t *testing.T) {
	for _, follower := range []string{"copy", "cause", "known", "flying"} {
		t.Run(follower, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b bench) {
				b.found("cause", nil)
				b.next()
				ended := b.waits(b.Mark(), true)
				if follower == "known" || follower == "flying" { // for another reason, later
					b.Touch(follower)
				}
				if follower == "flying" {
					b.next()
				}
				b.TouchFor(follower, "cause")
				b.Done("cause", dirty.Settled, "")
				if follower == "flying" {
					b.Done("flying", dirty.Settled, "")
				}
				if ended() {
					t.Fatal("what follows is not in the bucket")
				}
				b.next()
				b.Done(follower, dirty.Settled, "")
				if !ended() || b.Len() > 0 {
					t.Error("it does not end")
				}
			})
		})
	}
	inBubble(t, func(t *testing.T, b bench) { // of nothing
		b.TouchFor("a", "nothing")
		b.nextAt(25*ms, "a")
	})
}

func TestWaitForHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.hold("a")
		b.Touch("b")
		mark := b.Mark()
		all, others := b.waits(mark, false), b.waits(mark, true)
		if all() || others() {
			t.Error("b is left")
		}
		b.next()
		b.Done("b", dirty.Settled, "")
		if all() || !others() {
			t.Error("a alone is left, and held")
		}
		b.Touch("a") // it may have come back: then it is not just held
		others = b.waits(mark, true)
		if others() {
			t.Error("nobody has looked yet")
		}
		b.next()
		b.Done("a", dirty.Hold, "")
		if all() || !others() || !b.Left(mark) {
			t.Error("it is still held")
		}
		b.Release(b.Held().Last)
		b.next()
		b.Done("a", dirty.Settled, "")
		if !all() {
			t.Error("nothing is left")
		}
	})
}

func TestWaitIsCancelled(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.hold("a")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("flush-timeout is over"))
		defer cancel()
		if err := b.Wait(ctx, b.Mark(), false); err == nil || err.Error() != "flush-timeout is over" {
			t.Errorf("%v", err)
		}
		if _, err := b.Next(ctx); err == nil || err.Error() != "flush-timeout is over" {
			t.Errorf("%v", err)
		}
	})
}

func TestOldest(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		if list, since := b.Oldest(5); len(list) > 0 || !since.IsZero() {
			t.Error(list, since)
		}
		b.hold("held")
		for i := range 50 {
			b.Touch(fmt.Sprintf("%02d", (i*17)%50))
			if i%2 == 1 {
				time.Sleep(ms)
			}
		}
		list, since := b.Oldest(3)
		var got []string
		for _, p := range list {
			got = append(got, fmt.Sprint(p.Key, " ", p.Since.Sub(b.start), " ", p.Reason))
		}
		if want := []string{"00 0s waiting", "17 0s waiting", "held 0s delete remote"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if !since.Equal(b.start) {
			t.Errorf("since %s", since)
		}
		if list, _ := b.Oldest(100); len(list) != 51 || list[50].Key != "33" {
			t.Errorf("%d paths, the last %+v", len(list), list[len(list)-1])
		}
		if list, _ := b.Oldest(0); len(list) > 0 {
			t.Error("asked for none")
		}
	})
}
