package syncer

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// TestLanes: half as many at the first word that the store is busy, and no
// fewer for all who hear it at the same time; one more for each round that the
// store takes; at least one, and never more than were asked for.
func TestLanes(t *testing.T) {
	l := newLanes(32)
	enter := func(count int) (all []lane) {
		for range count {
			all = append(all, l.enter())
		}
		return all
	}
	want := func(width int) {
		t.Helper()
		if got := l.width(); got != width {
			t.Fatalf("%d lanes, want %d", got, width)
		}
	}
	round := func() {
		for _, n := range enter(l.width()) {
			n.taken()
			n.leave()
		}
	}
	round()
	want(32)
	all := enter(32)
	for _, n := range all {
		n.busy()
	}
	want(16)
	for _, n := range all { // begun before it was known
		n.taken()
		n.leave()
	}
	want(16)
	round()
	want(17)
	round()
	want(18)
	for range 10 {
		n := l.enter()
		n.busy()
		n.leave()
	}
	want(1)
	for range 100 {
		round()
	}
	want(32)
}

// No more are under way than there are lanes, and a narrower road does not stop
// those that are on it.
func TestLanesHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(4)
		all := []lane{l.enter(), l.enter(), l.enter(), l.enter()}
		all[0].busy()
		var entered atomic.Int64
		for range 3 {
			go func() {
				l.enter()
				entered.Add(1)
			}()
		}
		for i, want := range []int64{0, 0, 1, 2} { // 3, 2, 1 and none of the first are left
			all[i].leave()
			synctest.Wait()
			if got := entered.Load(); got != want {
				t.Fatalf("%d have entered after %d left, want %d", got, i+1, want)
			}
		}
		for range 3 {
			lane{of: l}.leave()
		}
		synctest.Wait()
		l.idle()
	})
}

func TestLanesStayWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 64).Draw(t, "max")
		l := newLanes(most)
		var all []lane
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch step := rapid.SampledFrom([]string{"enter", "taken", "busy", "leave"}).Draw(t, "step"); {
			case step == "enter" && len(all) < l.width():
				all = append(all, l.enter())
			case step == "taken" && len(all) > 0:
				all[0].taken()
			case step == "busy" && len(all) > 0:
				all[0].busy()
			case step == "leave" && len(all) > 0:
				all[0].leave()
				all = all[1:]
			}
			if w := l.width(); w < 1 || w > most {
				t.Fatalf("%d lanes of %d", w, most)
			}
		}
	})
}

// TestBusyStore: a server that takes four requests at a time, and turns others
// away, gets little more than four, and is not asked for most files twice.
func TestBusyStore(t *testing.T) {
	const capacity, files = 4, 600
	r := newRig(t, testenv.MinIO(t))
	b := r.between(t)
	a := r.node(t)
	a.start()
	var inside, turnedAway atomic.Int64
	b.admits(func(w http.ResponseWriter, request *http.Request) (leave func()) {
		if inside.Add(1) > capacity {
			inside.Add(-1)
			turnedAway.Add(1)
			_, _ = io.Copy(io.Discard, request.Body)
			http.Error(w, `<Error><Code>SlowDown</Code><Message>less, please</Message></Error>`, http.StatusServiceUnavailable)
			return nil
		}
		return func() { inside.Add(-1) }
	})
	for i := range files {
		a.write(fmt.Sprintf("d%d/%d", i%10, i), fmt.Sprint(i))
	}
	a.flush()
	width := a.engine.lanes.width()
	b.honest()
	a.mustStop()
	a.hasKeys(files)
	t.Logf("%d files, %d times turned away, %d lanes at the end", files, turnedAway.Load(), width)
	if n := turnedAway.Load(); n == 0 || n > files/2 {
		t.Errorf("turned away %d times for %d files", n, files)
	}
	if width > 3*capacity {
		t.Errorf("%d lanes at the end, to a store that has %d", width, capacity)
	}
}
