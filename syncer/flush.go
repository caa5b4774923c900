package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// farewell bounds what comes after the last flush: taking leave of the other
// writers, and aborting uploads. It is part of the time for that flush: the
// grace period of a pod is raised by no more than that, and a container that
// is killed leaves no word of what is not in the bucket.
const farewell = 2 * time.Second

// Flush returns when all that was written before the call is in the bucket, or
// an [*UnsyncedError] where something of it cannot be. With confirm, the
// mass-delete guard holds nothing back from the end of this flush's scan to its
// own end, however it ends: whoever confirms means what is gone now, not what
// may be later.
func (e *Engine) Flush(ctx context.Context, confirm bool) error {
	if err := e.flush(ctx, confirm); err != nil {
		return err
	}
	if err := e.leftOut(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// flush brings into the bucket what can be there.
func (e *Engine) flush(ctx context.Context, confirm bool) error {
	select { // before that deletions do not reach the bucket
	case <-e.inStep:
	case <-ctx.Done():
		return fmt.Errorf("flush: %w", context.Cause(ctx))
	}
	e.dirty.Hurry(true)
	defer e.dirty.Hurry(false)
	if err := e.scanNow(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if confirm {
		e.confirm(+1)
		defer e.confirm(-1)
	}
	mark := e.dirty.Mark()
	for {
		if err := e.dirty.WaitSent(ctx, mark); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		// What is left is held: the judge lets it go, or halts.
		switch {
		case e.dirty.Sent(mark):
			return nil
		case e.state.snapshot().HaltedDeletes > 0 && !confirm:
			return fmt.Errorf("flush: %w", e.Unsynced(nil))
		}
		if err := sleep(ctx, judgeTick); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
}

func (e *Engine) confirm(delta int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.confirming += delta
	e.judge.poke()
}

// lastFlush is the end of a sync: the app has stopped, or is stopping.
func (m *meeting) lastFlush(ctx context.Context) error {
	m.state.phase(status.Flushing)
	m.log.Info("stopping: flushing what is left", "timeout", m.cfg.FlushTimeout, "pending", m.dirty.Len())
	timeout := m.cfg.FlushTimeout - min(farewell, m.cfg.FlushTimeout/5)
	flushing, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), timeout,
		fmt.Errorf("flush-timeout %s is over", m.cfg.FlushTimeout))
	defer cancel()
	if m.readOnly() {
		return nil
	}
	listing := m.start(flushing, m.listUntilSure)
	defer func() {
		cancel()
		listing()
	}()
	var err error
	if !m.isInStep() { // stopped before it was; what was deleted meanwhile needs it
		err = m.getInStep(flushing)
	}
	if err == nil {
		err = m.flushUntilQuiet(flushing)
	}
	if err == nil {
		err = m.arrive(flushing)
	}
	if err != nil {
		return m.Unsynced(err)
	}
	_ = m.abortUnfinished(flushing) // a short life may not have come to it before
	return m.leftOut()
}

// listUntilSure lists as long as deletions wait for the end of a listing, which
// may have been interrupted by the end of the sync.
func (m *meeting) listUntilSure(ctx context.Context) {
	p := newPacer(m.gate, flushMost)
	for {
		m.mu.Lock()
		sure := !m.doubt.listing
		m.mu.Unlock()
		if sure || m.pass(ctx, "", true) == nil || p.wait(ctx) != nil {
			return
		}
	}
}

// takeLeave tells the other writers that this one has gone.
func (m *meeting) takeLeave(ctx context.Context) {
	if m.readOnly() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	if err := m.roster.Release(ctx); err != nil {
		m.log.Warn("could not take leave of the other writers; they will notice within 90 s", "error", err)
	}
}

// flushUntilQuiet flushes until nothing has changed for ShutdownQuiet. While
// the store does not answer it goes on trying.
func (e *Engine) flushUntilQuiet(ctx context.Context) error {
	p := newPacer(e.gate, flushMost)
	for {
		mark := e.dirty.Mark()
		err := e.flush(ctx, false)
		var held *UnsyncedError
		switch {
		case errors.As(err, &held):
			return err
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			if p.wait(ctx) != nil {
				return err
			}
			continue
		}
		if !e.dirty.Sent(e.dirty.Mark()) { // touched while it was flushing
			continue
		}
		if e.cfg.ShutdownQuiet <= 0 {
			return nil
		}
		if sleep(ctx, e.cfg.ShutdownQuiet) != nil {
			return nil // all is in the bucket, as far as anybody can know
		}
		if e.dirty.Mark() == mark {
			return nil
		}
	}
}

// leftOut is the error of a flush that has done all that can be done, where the
// volume has what cannot be in the bucket.
func (e *Engine) leftOut() error {
	missing, paths := e.state.missing()
	if missing == 0 || e.readOnly() {
		return nil
	}
	return &UnsyncedError{Paths: paths, Count: missing}
}

// Unsynced describes what is not in the bucket, for a sync that ends for cause.
func (e *Engine) Unsynced(cause error) *UnsyncedError {
	s := e.Status()
	missing, paths := e.state.missing()
	return &UnsyncedError{Paths: append(s.PendingPaths, paths...), Count: s.Pending + missing, Halted: s.HaltedDeletes, Cause: cause}
}

func (e *Engine) isInStep() bool {
	select {
	case <-e.inStep:
		return true
	default:
		return false
	}
}
