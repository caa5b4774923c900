package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// Restore fills the volume from the bucket and returns nil only when that is
// complete. While the store cannot be reached it waits; errors that waiting
// does not mend end it: see the Err values of package store, and tree.ErrFull.
// It never writes to the bucket. After an interruption it goes on where it was.
func (e *Engine) Restore(ctx context.Context) (err error) {
	started := time.Now()
	e.state.phase(status.Restoring)
	e.setRules(plan.Rules{})
	if err := e.prepareBase(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := e.connect(ctx, fatalForRestore); err != nil {
		return fmt.Errorf("restore: %w", err)
	}

	// The first error that waiting does not mend ends the workers.
	working, abort := context.WithCancelCause(ctx)
	e.setAbort(abort)
	stopped := e.start(working, e.work, e.judgeLoop)
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
	if err := e.listedPass(ctx, fatalForRestore); err != nil {
		return err
	}
	return e.dirty.Wait(ctx, e.dirty.Mark(), true)
}

// listedPass repeats a full pass until it succeeds.
func (e *Engine) listedPass(ctx context.Context, fatal func(error) bool) error {
	for {
		err := e.pass(ctx, "", true)
		if err == nil {
			e.gate.ok()
			e.state.ok()
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if fatal(err) {
			return err
		}
		e.failed(err)
		if err := sleep(ctx, e.gate.wait()); err != nil {
			return err
		}
	}
}
