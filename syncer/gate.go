package syncer

import (
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// gate is the backoff that all workers share: when the store does not answer,
// every path fails for one reason, and asking again path by path would be a
// storm.
type gate struct {
	mu      sync.Mutex
	backoff *backoff.ExponentialBackOff
	until   time.Time
	failing bool
}

func newGate() *gate {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 250 * time.Millisecond
	b.MaxInterval = 15 * time.Second
	b.Multiplier = 2
	b.RandomizationFactor = 0.3
	return &gate{backoff: b}
}

// fail lengthens the wait, once for all that fail while it lasts, and returns
// what is left of it. fresh: it was this call that lengthened it.
func (g *gate) fail() (wait time.Duration, fresh bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if wait := g.until.Sub(now); g.failing && wait > 0 {
		return wait, false
	}
	wait = g.backoff.NextBackOff()
	g.until, g.failing = now.Add(wait), true
	return wait, true
}

// wait is how long to stay away.
func (g *gate) wait() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(time.Until(g.until), 0)
}

// closed reports whether it is too early to ask again.
func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failing && time.Now().Before(g.until)
}

// down reports whether the store has not answered since the last failure.
func (g *gate) down() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failing
}

// ok ends the backoff and reports whether there was one.
func (g *gate) ok() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.failing
	g.failing = false
	g.backoff.Reset()
	return was
}
