package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

var killsFlag = flag.Int("chaos.kills", 80, "how often the crash tests kill sync, and restore")

// newCrashWorld is a world whose way to the store is a gate that kills, with
// an app that makes small things.
func newCrashWorld(t *testing.T, seed uint64, binary string) (*world, *gate) {
	t.Helper()
	w := newWorld(t, seed, binary)
	g := newGate(t, w.server, w.bucket)
	w.endpoint, w.touched = g.URL, g.touch
	w.node.remove() // it may be a mount, which cannot be lost
	w.node = w.newNode(0)
	w.app.dir = w.home()
	w.app.ops = slices.DeleteFunc(w.app.ops, func(o operation) bool {
		return o.name == "write a large file" || o.name == "fill the volume"
	})
	return w, g
}

// work lets the app do n operations.
func (w *world) work(n int) {
	for range n {
		w.app.op()
	}
}

// killing starts a process and kills it at a moment of rng's choice: by the
// clock, at some request, or after the store has done a change of which the
// process has not learnt. It returns when the process has ended.
func (w *world) killing(g *gate, rng *rand.Rand, start func() *child) *child {
	w.t.Helper()
	var c *child
	started := make(chan struct{})
	spring := func() {
		<-started
		c.kill()
	}
	any := func(*http.Request) bool { return true }
	var t *trap
	limit := 600 * time.Millisecond // no such request may come
	switch rng.IntN(4) {
	case 0:
		limit = time.Duration(rng.Int64N(int64(200 * time.Millisecond)))
	case 1:
		t = g.set(&trap{nth: 1 + rng.IntN(30), match: any, spring: spring})
	case 2:
		t = g.set(&trap{nth: 1 + rng.IntN(30), after: true, match: any, spring: spring})
	case 3:
		t = g.set(&trap{nth: 1 + rng.IntN(4), after: true, match: g.changes, spring: spring})
	}
	defer g.set(nil)
	var sprung chan struct{}
	if t != nil {
		sprung = t.sprung
	}
	c = start()
	close(started)
	select {
	case <-sprung:
		w.count("killed at a request")
	case <-c.done:
	case <-time.After(limit):
		c.kill()
		w.count("killed by the clock")
	}
	<-c.done
	return c
}

// TestKillSync kills sync again and again, at any moment of its life, while
// the app works or rests. After each kill the volume is what the app made of
// it, and what a restore would bring is what was acknowledged, or later; after
// a few of them everything has come to be the same. Nothing is uploaded that
// is in the bucket already.
func TestKillSync(t *testing.T) {
	t.Parallel()
	w, g := newCrashWorld(t, *seedFlag, syncerBinary(t))
	rng := rand.New(rand.NewPCG(*seedFlag, 100))
	for kills := 1; kills <= *killsFlag; kills++ {
		w.work(rng.IntN(4))
		w.killing(g, rng, func() *child {
			w.node.start()
			w.work(rng.IntN(3))
			return w.node.take()
		})
		w.node.kill() // which now is to forget it
		w.stopIfFailed()
		w.whatIsLeft()
		if kills%10 == 0 {
			if rng.IntN(2) == 0 {
				w.restore("with volume and state kept")
			}
			w.calmEnd()
			w.node.kill()
		}
		w.nothingNeedless(g)
	}
	t.Log(w.counts.String())
}

func (w *world) nothingNeedless(g *gate) {
	w.t.Helper()
	g.mu.Lock()
	list := g.needless
	g.mu.Unlock()
	if len(list) > 0 {
		w.fatal(fmt.Sprintf("uploaded again, though the bucket had it: %s", strings.Join(list, ", ")))
	}
}

// TestKillRestore kills restore again and again and then lets it end. Under a
// final name there is never anything but what the bucket has; what is there
// is not fetched again; and the bucket is not written to.
func TestKillRestore(t *testing.T) {
	t.Parallel()
	w, g := newCrashWorld(t, *seedFlag+1, syncerBinary(t))
	rng := rand.New(rand.NewPCG(*seedFlag+1, 100))
	w.work(80)
	w.calmEnd()
	for kills := 0; kills < *killsFlag; {
		w.node.remove()
		w.node = w.newNode(0)
		w.app.dir = w.home()
		for {
			g.forget()
			have := w.partOf()
			c := w.killing(g, rng, w.startRestore)
			w.onlyWhatIsMissing(g, have)
			if c.code == contract.ExitOK {
				break
			}
			if kills++; c.code > 0 {
				w.fatal(fmt.Sprintf("restore has ended with code %d", c.code))
			}
			w.count("restore killed")
		}
		found, err := survey(w.node.volume)
		if err != nil {
			w.fatal(err.Error())
		}
		w.mu.Lock()
		list := w.record.Check(found)
		w.mu.Unlock()
		w.demand("after a restore that was killed now and then", list, w.node.volume)
		w.count("restores checked")
		if rng.IntN(4) == 0 { // from here the volume goes on, with nothing to upload
			g.forget()
			w.calmEnd()
			if n := g.wrote(); n > 0 {
				w.fatal(fmt.Sprintf("sync has changed %d objects after a complete restore", n))
			}
			w.work(5)
			w.calmEnd()
		}
	}
	t.Log(w.counts.String())
}

// partOf is what a killed restore has left in the volume, all of which must be
// as it is meant to be.
func (w *world) partOf() map[string]record.State {
	w.t.Helper()
	found, err := survey(w.node.volume)
	if err != nil {
		w.fatal(err.Error())
	}
	var list []record.Violation
	w.mu.Lock()
	for path, f := range found {
		if want := w.record.State(path); f != want && (f.Kind != record.Dir || want.Kind != record.Dir) {
			list = append(list, record.Violation{Path: path, What: fmt.Sprintf("is not %s", want), Found: f})
		}
	}
	w.mu.Unlock()
	w.demand("a killed restore has left something else than the bucket has", list, w.node.volume)
	return found
}

// onlyWhatIsMissing looks at what a restore asked for.
func (w *world) onlyWhatIsMissing(g *gate, have map[string]record.State) {
	w.t.Helper()
	if n := g.wrote(); n > 0 {
		w.fatal(fmt.Sprintf("restore has written to the bucket: %d requests", n))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for path, s := range have {
		if s.Kind == record.File && g.reads[path] > 0 {
			g.needless = append(g.needless, path)
		}
	}
	if len(g.needless) > 0 {
		w.fatal(fmt.Sprintf("fetched again, though the volume had it: %q", g.needless))
	}
}
