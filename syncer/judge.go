package syncer

import (
	"context"
	"iter"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

const (
	// A batch of deletions is complete when none was added for judgeQuiet,
	// or the first has waited for judgeMax.
	judgeQuiet = 150 * time.Millisecond
	judgeMax   = 2 * time.Second
	judgeTick  = 50 * time.Millisecond
	haltedTick = time.Second
)

// judge decides when held deletions are let go: together, after whatever was
// under way when they were found (a renamed file reaches the bucket under its
// new name before the old one goes), and only if they do not look like an
// accident.
type judge struct{ wake chan struct{} }

func newJudge() judge { return judge{wake: make(chan struct{}, 1)} }

func (j judge) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

func (e *Engine) judgeLoop(ctx context.Context) {
	for {
		wait := e.judgeHeld(ctx, time.Now())
		timer := time.NewTimer(wait)
		select {
		case <-e.judge.wake:
			timer.Stop()
			// Poked once for every held path: look at a steady pace instead.
			if sleep(ctx, judgeTick) != nil {
				return
			}
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// judgeHeld looks at what is held and returns when to look again.
func (e *Engine) judgeHeld(ctx context.Context, now time.Time) time.Duration {
	held := e.dirty.Held()
	if held.Keys == 0 {
		e.halt(0)
		return time.Hour
	}
	e.mu.Lock()
	busy, confirmed := e.scanning > 0, e.confirmed || e.travels
	e.mu.Unlock()
	if busy || held.Awaited != "" {
		return judgeTick
	}
	if !confirmed {
		if now.Sub(held.Last) < judgeQuiet && now.Sub(held.First) < judgeMax {
			return judgeTick
		}
		batch := plan.Batch{Deletes: int64(held.Keys), Total: e.base.Len(), Witnessed: held.Witnessed}
		if plan.Suspicious(batch) {
			e.halt(batch.Deletes)
			return haltedTick
		}
	}
	e.mu.Lock()
	e.confirmed = false
	e.mu.Unlock()
	e.halt(0)
	e.dirty.Release()
	if err := e.dirty.ReleaseRest(ctx, e.baseKeys()); err != nil && ctx.Err() == nil {
		e.log.Error("could not find all deletions that may go; the others are held on", "error", err)
	}
	return judgeTick
}

// baseKeys are all that can be deleted.
func (e *Engine) baseKeys() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for b, err := range e.base.Range("") {
			if !yield(b.Key, err) {
				return
			}
		}
	}
}

func (e *Engine) halt(deletes int64) {
	var before int64
	e.state.update(func(s *status.Status) {
		before, s.HaltedDeletes = s.HaltedDeletes, deletes
	})
	switch {
	case before == 0 && deletes > 0:
		e.log.Error("deletions are held back", "deletions", deletes, "entries", e.base.Len(), "do", haltedMessage(deletes))
	case before > 0 && deletes == 0:
		e.log.Info("no deletions are held back any more")
	}
}
