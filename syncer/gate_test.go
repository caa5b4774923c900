package syncer

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestGate: the wait for a store that does not answer grows from try to try up
// to a cap, differs from one syncer to the next so that not all come back at
// once, is the same for all that fail meanwhile, and begins anew after success.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const first, limit, jitter = 250 * time.Millisecond, 15 * time.Second, 0.3
		g := newGate(limit)
		about := func(want time.Duration) {
			t.Helper()
			wait, fresh := g.fail()
			least, most := time.Duration(float64(want)*(1-jitter)), time.Duration(float64(want)*(1+jitter))+1
			if !fresh || wait < least || wait > most {
				t.Errorf("wait %s (fresh: %v), want about %s", wait, fresh, want)
			}
			time.Sleep(wait / 2)
			left, fresh := g.fail()
			if fresh || left != wait-wait/2 || !g.closed() {
				t.Errorf("another that fails meanwhile waits %s (fresh: %v), want what is left of %s", left, fresh, wait)
			}
			time.Sleep(left)
			if g.closed() {
				t.Error("closed for longer than it says")
			}
		}
		for want := first; want < limit; want *= 2 {
			about(want)
		}
		for range 20 {
			about(limit)
		}
		if !g.ok() || g.ok() {
			t.Error("the end of the backoff is not told once")
		}
		about(first)

		waits := map[time.Duration]int{}
		for range 50 {
			wait, _ := newGate(limit).fail()
			waits[wait]++
		}
		if len(waits) < 40 {
			t.Errorf("50 syncers wait %d different times", len(waits))
		}
	})
}

// TestPacer: what is tried again and again is so ever less often, give or take,
// and never less often than a writer's presence allows; who waits goes on when
// another gets through, but not each time.
func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(retryMost)
		p := newPacer(g, retryMost)
		const every = 3 * time.Second
		failed := errors.New("no answer")
		waited := func(err error) time.Duration {
			began := time.Now()
			if err := p.after(t.Context(), every, err); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		if got := waited(nil); got != every {
			t.Errorf("%s after a success, want %s", got, every)
		}
		waits := map[time.Duration]int{}
		var longest time.Duration
		for range 100 {
			w := waited(failed)
			waits[w]++
			longest = max(longest, w)
			if w < every*7/10 || w > 20*time.Second {
				t.Errorf("%s after a failure", w)
			}
		}
		if longest < 10*time.Second || len(waits) < 90 {
			t.Errorf("no longer than %s, %d different times", longest, len(waits))
		}

		opens := func() {
			g.fail()
			time.AfterFunc(time.Millisecond, func() { g.ok() })
		}
		opens()
		if got := waited(failed); got != time.Millisecond {
			t.Errorf("waits on for %s while others get through", got)
		}
		opens()
		if got := waited(failed); got < every*7/10 {
			t.Errorf("tries again after %s because others get through, and is refused itself", got)
		}
		opens()
		if got := waited(failed); got != time.Millisecond {
			t.Errorf("waits on for %s the next time", got)
		}
		if got := waited(nil); got != every {
			t.Errorf("%s after a success, want %s", got, every)
		}
		if got := p.failed(); got > time.Second {
			t.Errorf("begins with %s after a success", got)
		}
		if p.due() {
			t.Error("due at once")
		}
		time.Sleep(time.Second)
		if !p.due() {
			t.Error("never due")
		}
	})
}
