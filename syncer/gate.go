package syncer

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// retryMost is the cap of what is asked of a store that does not answer: no
	// more than a writer's presence can wait for, which is due every 30 s.
	retryMost = 15 * time.Second
	// flushMost is the same for what a last flush does, which has little time.
	flushMost = 4 * time.Second
)

// newBackoff grows from a quarter of a second to most, and differs from one
// syncer to the next so that not all come back at once.
func newBackoff(most time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 250 * time.Millisecond
	b.MaxInterval = most
	b.Multiplier = 2
	b.RandomizationFactor = 0.3
	return b
}

// gate is the backoff that all workers share: when the store does not answer,
// every path fails for one reason, and asking again path by path would be a
// storm.
type gate struct {
	mu      sync.Mutex
	backoff *backoff.ExponentialBackOff
	until   time.Time
	failing bool
	opened  chan struct{} // closed when it opens
}

func newGate(most time.Duration) *gate {
	return &gate{backoff: newBackoff(most), opened: make(chan struct{})}
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

// closed reports whether it is too early to ask again.
func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failing && time.Now().Before(g.until)
}

// ok ends the backoff and reports whether there was one.
func (g *gate) ok() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.failing
	g.failing = false
	g.backoff.Reset()
	if was {
		close(g.opened)
		g.opened = make(chan struct{})
	}
	return was
}

// opens is closed when the gate opens next.
func (g *gate) opens() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened
}

// pacer is the backoff of one loop, which does the same thing again and again,
// or until it succeeds. Of all that wait for the store the first to get through
// opens the gate, and then all go on at once.
type pacer struct {
	gate    *gate
	backoff *backoff.ExponentialBackOff
	next    time.Time // when it is due again
	early   bool      // the last wait was cut short
}

func newPacer(g *gate, most time.Duration) *pacer {
	return &pacer{gate: g, backoff: newBackoff(most)}
}

// failed returns how long to stay away.
func (p *pacer) failed() time.Duration {
	wait := p.backoff.NextBackOff()
	p.next = time.Now().Add(wait)
	return wait
}

func (p *pacer) ok() {
	p.backoff.Reset()
	p.next, p.early = time.Time{}, false
}

// due reports whether it is time to try again, for what is done on occasion.
func (p *pacer) due() bool { return !time.Now().Before(p.next) }

// wait stays away after a failure. It ends when the gate opens, but not twice in
// a row: what fails again then is refused for a reason of its own, and would be
// asked for each time that something else succeeds.
func (p *pacer) wait(ctx context.Context) error { return p.sleep(ctx, p.failed()) }

// after waits for the next round of a loop: every while all is well, and no less
// than that, give or take, after a failure.
func (p *pacer) after(ctx context.Context, every time.Duration, err error) error {
	if err == nil {
		p.ok()
		return sleep(ctx, every)
	}
	return p.sleep(ctx, max(p.failed(), every*7/10+rand.N(every*6/10+1)))
}

func (p *pacer) sleep(ctx context.Context, wait time.Duration) error {
	var opens <-chan struct{}
	if !p.early {
		opens = p.gate.opens()
	}
	p.early = false
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-opens:
		p.early = true
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
