package syncer

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
)

const (
	// A batch of deletions is complete when none was added for judgeQuiet,
	// or the first has waited for judgeMax.
	judgeQuiet = 150 * time.Millisecond
	judgeMax   = 2 * time.Second
	judgeTick  = 50 * time.Millisecond
	haltedTick = time.Second
	// heldLong is when people are told what deletions wait for.
	heldLong = 10 * time.Second
)

// judge decides when held deletions are let go: together, after whatever was
// under way when they were found (a renamed file reaches the bucket under its
// new name before the old one goes), and only if they do not look like an
// accident.
type judge struct {
	wake chan struct{}
	// recount is when it may be counted again what takes part, which may take
	// seconds, after it was found that too much of it would go.
	recount time.Time
	// mended is the tree's count when nothing was held.
	mended uint64
}

func newJudge() judge { return judge{wake: make(chan struct{}, 1)} }

func (j *judge) poke() {
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
		e.state.held("")
		e.judge.recount = time.Time{}
		e.judge.mended = e.tree.Mended()
		return time.Hour
	}
	confirmed, obstacle := e.obstacle(held)
	if err := e.sameVolume(); err != nil {
		obstacle = err.Error()
	}
	if obstacle != "" {
		if now.Sub(held.First) >= heldLong {
			e.state.held(fmt.Sprintf("deletions wait (%d): %s", held.Keys, obstacle))
		}
		return judgeTick
	}
	e.state.held("")
	if !confirmed {
		if now.Sub(held.Last) < judgeQuiet && now.Sub(held.First) < judgeMax {
			return judgeTick
		}
		if rest := e.judge.recount.Sub(now); rest > 0 {
			return rest
		}
		// The guard allows any batch that is less than half.
		total, err := e.visible(2 * int64(held.Keys))
		if err != nil {
			e.log.Error("could not judge deletions; they are held on", "error", err)
			return haltedTick
		}
		// What goes together with the reserved folder was not picked.
		picked := held.Witnessed && e.tree.Mended() == e.judge.mended
		batch := plan.Batch{Deletes: int64(held.Keys), Total: total, Witnessed: picked}
		if plan.Suspicious(batch) {
			e.halt(batch.Deletes)
			rest := 20 * time.Since(now) // counting may take long
			e.judge.recount = now.Add(rest)
			return max(haltedTick, rest)
		}
	}
	e.halt(0)
	e.dirty.Release(held.Ripe) // and not what came meanwhile
	if err := e.dirty.ReleaseRest(ctx, e.baseKeys()); err != nil && ctx.Err() == nil {
		e.log.Error("could not find all deletions that may go; the others are held on", "error", err)
	}
	return judgeTick
}

// obstacle says why what is held cannot be judged yet, "" if it can, and
// whether somebody has confirmed it.
func (e *Engine) obstacle(held dirty.Held) (confirmed bool, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.doubt.scan:
		why = "the last scan of the volume failed"
	case e.doubt.listing:
		why = "the last listing of the bucket failed"
	case e.scanning > 0:
		why = "a scan is under way"
	case held.Ripe.IsZero():
		why = legible(held.Awaited) + " was changed before them and is not synced yet"
	}
	return e.confirming > 0 || e.travels, why
}

// doubt: a pass has found deletions and then failed. They are a part of what it
// would have found, of which nothing can be judged, until one has succeeded.
type doubt struct{ scan, listing bool }

// concluded notes how a pass has ended that has found deletions, or not, and
// reports whether an earlier one was in doubt that it has completed.
func (e *Engine) concluded(dir string, listed bool, deletions int, err error) (completed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.doubt
	switch {
	case err == nil && dir == "":
		e.doubt.scan = false
		e.doubt.listing = e.doubt.listing && !listed
	case err != nil && deletions > 0:
		e.doubt.scan = e.doubt.scan || !listed
		e.doubt.listing = e.doubt.listing || listed
	}
	return before != doubt{} && e.doubt == doubt{}
}

// visible is how many entries take part, or a number beyond enough: those that a
// filter hides are no measure of those that it shows.
func (e *Engine) visible(enough int64) (n int64, err error) {
	if e.filter.ShowsAll() {
		return e.base.Len(), nil
	}
	for b, err := range e.base.Range("") {
		if err != nil {
			return 0, err
		}
		if e.filter.Match(b.Key) {
			n++
		}
		if n > enough {
			break
		}
	}
	return n, nil
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
	switch before := e.state.halt(deletes); {
	case before == 0 && deletes > 0:
		e.log.Error("deletions are held back", "deletions", deletes, "entries", e.base.Len(), "do", haltedMessage(deletes))
	case before > 0 && deletes == 0:
		e.log.Info("no deletions are held back any more")
	}
}
