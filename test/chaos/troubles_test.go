package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// troubles are what goes wrong while an app works.
type troubles struct {
	net, process       sync.WaitGroup
	endNet, endProcess context.CancelFunc
}

// startTroubles lets the way to the store and the store fail now and then, and
// the syncer too, independently of each other.
func (w *world) startTroubles(withProcess bool) *troubles {
	netCtx, endNet := context.WithCancel(w.t.Context())
	processCtx, endProcess := context.WithCancel(w.t.Context())
	tr := &troubles{endNet: endNet, endProcess: endProcess}
	tr.net.Go(func() { w.disturb(netCtx) })
	if withProcess {
		tr.process.Go(func() { w.killNowAndThen(processCtx) })
		tr.process.Go(func() { w.audit(processCtx) })
	}
	return tr
}

// stopProcess returns when nobody kills the syncer any more; it runs.
func (tr *troubles) stopProcess() {
	tr.endProcess()
	tr.process.Wait()
}

// stop returns when everything is well again.
func (tr *troubles) stop() {
	tr.stopProcess()
	tr.endNet()
	tr.net.Wait()
}

// between waits for a random time and reports whether to go on.
func between(ctx context.Context, rng *rand.Rand, from, to time.Duration) bool {
	timer := time.NewTimer(from + time.Duration(rng.Int64N(int64(to-from))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// killNowAndThen kills the syncer, looks at what it has left, and starts it
// again at once or later.
func (w *world) killNowAndThen(ctx context.Context) {
	for between(ctx, w.processRng, 200*time.Millisecond, 4*time.Second) {
		w.node.kill()
		w.count("syncer killed")
		switch _, wrong := w.leftBySync(); wrong {
		case "":
		case halfThere:
			w.count("looks in vain")
		default:
			w.fail(wrong)
		}
		between(ctx, w.processRng, 0, 500*time.Millisecond)
		w.node.start()
	}
}

// audit reads the bucket now and then.
func (w *world) audit(ctx context.Context) {
	rng := rand.New(rand.NewPCG(w.seed, uint64(time.Now().UnixNano()))) // when to look is no choice that matters
	for between(ctx, rng, 50*time.Millisecond, 700*time.Millisecond) {
		_, _ = w.auditor.look(ctx) // the store may be down; the next look sees what this did not
	}
}

// disturb does one bad thing after the other to the way to the store.
func (w *world) disturb(ctx context.Context) {
	rng := w.netRng
	for between(ctx, rng, 50*time.Millisecond, 1500*time.Millisecond) {
		hold := func(from, to int) {
			between(ctx, rng, time.Duration(from)*time.Millisecond, time.Duration(to)*time.Millisecond)
		}
		switch n := rng.IntN(12); n {
		case 0:
			if w.shared != nil && w != w.shared.worlds[0] {
				continue // the store is killed by one of them
			}
			w.count("store killed")
			w.note("the store is killed")
			w.server.Kill(w.t)
			hold(0, 800)
			w.server.Start(w.t)
			w.note("the store is back")
		case 1:
			w.count("way cut")
			w.note("the way is cut")
			w.path.Cut()
			hold(50, 1500)
			w.path.Mend(w.t)
			w.note("the way is mended")
		default:
			t := toxics()[n%len(toxics())]
			stream := []string{"upstream", "downstream"}[rng.IntN(2)]
			attributes := t.attributes(rng)
			w.count("toxics")
			w.note(fmt.Sprintf("toxic %s %s %v", t.kind, stream, attributes))
			cure := w.path.Poison(w.t, t.kind, stream, attributes)
			hold(100, 2000)
			cure()
			w.note("toxic " + t.kind + " is gone")
			if t.kind == "timeout" {
				// What vanished in the hole is not sent again: end the connections
				// that wait for it, so that nobody waits a minute.
				w.path.Cut()
				w.path.Mend(w.t)
			}
		}
	}
}

type toxic struct {
	kind       string
	attributes func(*rand.Rand) map[string]any
}

func toxics() []toxic {
	return []toxic{
		{"latency", func(r *rand.Rand) map[string]any {
			return map[string]any{"latency": 20 + r.IntN(300), "jitter": r.IntN(150)}
		}},
		{"bandwidth", func(r *rand.Rand) map[string]any { return map[string]any{"rate": 200 + r.IntN(8000)} }},
		{"reset_peer", func(r *rand.Rand) map[string]any { return map[string]any{"timeout": r.IntN(200)} }},
		{"limit_data", func(r *rand.Rand) map[string]any {
			return map[string]any{"bytes": []int{300, 3000, 100_000, 5_000_000}[r.IntN(4)]}
		}},
		{"slow_close", func(r *rand.Rand) map[string]any { return map[string]any{"delay": 100 + r.IntN(3000)} }},
		{"timeout", func(*rand.Rand) map[string]any { return map[string]any{"timeout": 0} }},
		{"slicer", func(r *rand.Rand) map[string]any {
			return map[string]any{"average_size": 200 + r.IntN(4000), "size_variation": 100, "delay": r.IntN(200)}
		}},
	}
}
