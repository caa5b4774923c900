package syncer

import (
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
		g := newGate()
		about := func(want time.Duration) {
			t.Helper()
			wait, fresh := g.fail()
			least, most := time.Duration(float64(want)*(1-jitter)), time.Duration(float64(want)*(1+jitter))+1
			if !fresh || wait < least || wait > most {
				t.Errorf("wait %s (fresh: %v), want about %s", wait, fresh, want)
			}
			time.Sleep(wait / 2)
			if left, fresh := g.fail(); fresh || left != wait-wait/2 || g.wait() != left {
				t.Errorf("another that fails meanwhile waits %s (fresh: %v), want what is left of %s", left, fresh, wait)
			}
			time.Sleep(g.wait())
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
			wait, _ := newGate().fail()
			waits[wait]++
		}
		if len(waits) < 40 {
			t.Errorf("50 syncers wait %d different times", len(waits))
		}
	})
}
