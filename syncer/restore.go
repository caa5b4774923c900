package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// Restore fills the volume from the bucket and returns nil only when that is
// complete. While the store cannot be reached it waits; errors that waiting
// does not mend end it: see the Err values of package store, and tree.ErrFull.
// It writes nothing to the bucket but a note where it comes upon damage. After an interruption it goes on where it was.
func (e *Engine) Restore(ctx context.Context) (err error) {
	started := time.Now()
	e.state.phase(status.Restoring)
	e.setRules(plan.Rules{})
	if err := e.prepareBase(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	e.mu.Lock()
	e.kept = e.base.Len() > 0
	e.mu.Unlock()
	// The first error that waiting does not mend ends everything.
	working, abort := context.WithCancelCause(ctx)
	e.setAbort(abort)
	stopped := e.start(working, e.judgeLoop, func(ctx context.Context) { e.watchdog(ctx, e.cfg.RestoreTimeout, abort) })
	err = e.restoreAll(working)
	if err != nil && context.Cause(working) != nil {
		err = context.Cause(working)
	}
	abort(errors.New("restore has ended"))
	stopped()
	e.setAbort(nil)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}

	if err := e.base.SetMeta(metaRestored, "true"); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	e.state.update(func(s *status.Status) { s.Restored = true })
	p := e.state.snapshot().Progress
	took := time.Since(started)
	e.metrics.Restored(p.FilesDone, p.BytesDone, took)
	e.log.Info("restore is complete", "files", p.FilesDone, "bytes", p.BytesDone, "took", took.Round(time.Millisecond))
	return nil
}

// restoreAll lists until one listing was complete, and waits until all that it
// showed is in the volume.
func (e *Engine) restoreAll(ctx context.Context) error {
	if err := e.connect(ctx, fatalForRestore); err != nil {
		return err
	}
	if err := e.insist(ctx, fatalForRestore, func() error { return e.knowRemote(ctx, false) }); err != nil {
		return err
	}
	if err := e.missVanished(ctx); err != nil {
		return err
	}
	if !e.cfg.RestoreAt.IsZero() {
		return e.restorePast(ctx)
	}
	return e.fill(ctx)
}

// fill brings what the store shows into the volume.
func (e *Engine) fill(ctx context.Context) error {
	working, stop := context.WithCancel(ctx)
	stopped := e.start(working, e.work)
	defer stopped()
	defer stop()
	if err := e.listedPass(ctx, fatalForRestore); err != nil {
		return err
	}
	e.mu.Lock()
	travels := e.travels
	e.mu.Unlock()
	// Deletions are part of a time travel.
	if err := e.dirty.Wait(ctx, e.dirty.Mark(), !travels); err != nil {
		return err
	}
	return e.finishFolders(ctx)
}

// sayRoom adds to the error of a volume that is full how much room all files of
// the bucket take, how much of that is there, and how much is left.
func (e *Engine) sayRoom(ctx context.Context, full error) error {
	var need int64
	for r, err := range e.listRemote(ctx, "") {
		if err != nil {
			return full
		}
		if e.filter.Match(r.Key) {
			need += r.Size
		}
	}
	free, err := e.tree.Free()
	if err != nil {
		return full
	}
	size := func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
	return fmt.Errorf("%w; the files of the bucket need %s in all, of which %s are there, and the volume has %s left",
		full, size(need), size(e.state.snapshot().Progress.BytesDone), size(free))
}

// unreadable notes that a restore could not read an object that is there.
func (e *Engine) unreadable(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.abortWith != nil {
		e.doubtful[key] = struct{}{}
	}
}

func (e *Engine) wasUnreadable(key string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, doubtful := e.doubtful[key]
	return doubtful
}

// listedPass repeats a full pass until it succeeds.
func (e *Engine) listedPass(ctx context.Context, fatal func(error) bool) error {
	return e.insist(ctx, fatal, func() error { return e.pass(ctx, "", true) })
}

// insist repeats an exchange with the store until it succeeds, or ends in an
// error that waiting does not mend.
func (e *Engine) insist(ctx context.Context, fatal func(error) bool, exchange func() error) error {
	p := newPacer(e.gate, retryMost)
	for {
		err := exchange()
		if err == nil {
			e.storeAnswered()
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if fatal(err) {
			return err
		}
		e.failed(err)
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
}
