package syncer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/watch"
	"github.com/minio-sidecar/minio-sidecar/syncer/writers"
)

const (
	// rosterInterval is how often the other writers are looked for, and how
	// often the bucket is listed while there are any.
	rosterInterval = 3 * time.Second
	// followInterval is how often a read-only volume lists the bucket.
	followInterval = 10 * time.Second
	// flushRetry is how soon the last flush tries again after a failed scan.
	flushRetry = time.Second
	// releaseTimeout bounds the farewell after the last flush.
	releaseTimeout = 5 * time.Second
)

// start runs each loop until ctx ends; the function it returns waits for them.
func (e *Engine) start(ctx context.Context, loops ...func(context.Context)) (wait func()) {
	var group sync.WaitGroup
	for _, loop := range loops {
		group.Go(func() { loop(ctx) })
	}
	return group.Wait
}

func (e *Engine) readOnly() bool { return e.cfg.Mode == contract.ModeReadOnly }

// Sync keeps volume and bucket equal until ctx ends, and then flushes for at
// most FlushTimeout. It returns nil only if everything is in the bucket, an
// [*UnsyncedError] otherwise. On a volume that was not restored it restores
// first; until that is complete nothing is deleted on either side's account.
func (e *Engine) Sync(ctx context.Context) error {
	if err := e.prepareBase(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	restored, err := e.base.Meta(metaRestored)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	e.state.update(func(s *status.Status) { s.Restored = restored != "" })
	watcher, err := watch.New(e.tree.Path(), watch.Options{Reserved: contract.Reserved, Logger: e.log})
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	e.state.phase(status.Syncing)
	e.state.watching(watcher.Degraded)
	e.setRules(plan.Rules{Push: !e.readOnly()})

	// The loops outlive ctx: the last flush needs them.
	life, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	wait := e.start(life, e.judgeLoop, e.scanLoop,
		func(ctx context.Context) { e.watch(ctx, watcher) },
		func(ctx context.Context) { e.hear(ctx, watcher) },
	)
	working := sync.OnceValue(func() func() { return e.start(life, e.work) })
	roster := writers.New(e.store, e.cfg.Prefix, e.writer)
	if err = e.converse(ctx, watcher, roster, working); err == nil {
		working()
		err = e.lastFlush(ctx, roster)
	}
	stop(errors.New("sync has ended"))
	working()()
	wait()
	e.state.phase(status.Stopped)
	return err
}

// converse is the life of a sync: get to know the store, pull what the bucket
// has, then keep an eye on the other writers. It returns nil when ctx ends, and
// an error when only a new start can help. The workers are started once it is
// clear that the base speaks of this bucket.
func (e *Engine) converse(ctx context.Context, watcher *watch.Watcher, roster *writers.Roster, work func() func()) error {
	never := func(error) bool { return false }
	select { // watch first, so that nothing falls between the scan and the watch
	case <-watcher.Ready():
	case <-ctx.Done():
		return nil
	}
	e.state.update(func(s *status.Status) { s.Watching = true })
	if e.connect(ctx, never) != nil {
		return nil
	}
	if e.insist(ctx, never, func() error { return e.knowRemote(ctx, !e.readOnly()) }) != nil {
		return nil
	}
	work()
	if !e.readOnly() {
		e.tryOut(ctx)
		// Before the listing: what those writers did that are gone by now, the
		// listing shows; if this look fails the next one finds them new.
		if _, _, err := roster.Look(ctx); err != nil {
			e.log.Warn("could not announce this writer; will try again", "error", err)
		}
	}
	if e.listedPass(ctx, never) != nil {
		return nil
	}
	// A volume that was complete before does not wait for what may take long,
	// such as a large upload.
	if !e.Status().Restored {
		if e.dirty.Wait(ctx, e.dirty.Mark(), true) != nil {
			return nil
		}
		if err := e.base.SetMeta(metaRestored, "true"); err != nil {
			e.log.Error("could not note that the volume is complete", "error", err)
		}
	}
	e.setRules(plan.Rules{Push: !e.readOnly(), Delete: !e.readOnly() && e.cfg.Delete})
	e.state.update(func(s *status.Status) { s.Restored = true })
	e.inStep.Store(true)
	e.log.Info("volume and bucket are in step", "entries", e.base.Len())
	e.requestScan("") // for deletions that happened meanwhile
	if !e.readOnly() {
		e.tidyUp(ctx)
	}
	return e.attend(ctx, roster)
}

// leftoverAge is when an unfinished multipart upload is taken for one that a
// crash left behind. A large file on a slow line may take hours.
const leftoverAge = 24 * time.Hour

// tidyUp drops what crashed uploads left behind, unseen but paid for.
func (e *Engine) tidyUp(ctx context.Context) {
	n, err := e.store.AbortUploads(ctx, e.cfg.Prefix, leftoverAge)
	if err != nil {
		e.log.Warn("could not drop unfinished uploads", "error", err)
	}
	if n > 0 {
		e.log.Info("dropped unfinished uploads that a crash had left behind", "uploads", n)
	}
}

// tryOut learns what the store can do, and says what that means.
func (e *Engine) tryOut(ctx context.Context) {
	able, err := e.store.Abilities(ctx, e.cfg.Prefix)
	if err != nil {
		e.log.Warn("could not find out what the store can do; assuming that it honours conditional writes", "error", err)
		return
	}
	e.mu.Lock()
	e.abilities = able
	e.mu.Unlock()
	if !able.ConditionalPut || !able.ConditionalMultipart {
		note := "the store ignores conditional writes: two writers of one file within the same second may overwrite each other"
		e.state.update(func(s *status.Status) { s.Notes = append(s.Notes, note) })
		e.log.Warn(note)
	}
}

// attend pulls while there are other writers, and once more after each leaves.
func (e *Engine) attend(ctx context.Context, roster *writers.Roster) error {
	interval := rosterInterval
	if e.readOnly() {
		interval = followInterval
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	owed := false // a pull that failed
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		pull := e.readOnly()
		if !e.readOnly() {
			others, news, err := roster.Look(ctx)
			if errors.Is(err, writers.ErrForgotten) {
				return ErrBucketReplaced
			}
			if err != nil {
				if ctx.Err() == nil && e.state.fail(err) {
					e.log.Warn("could not look for other writers; will try again", "error", err)
				}
				continue
			}
			e.state.update(func(s *status.Status) { s.OtherWriters = others })
			pull = owed || news || len(others) > 0
		}
		if !pull {
			continue
		}
		if err := e.pass(ctx, "", true); err != nil {
			owed = true
			if ctx.Err() == nil && e.state.fail(err) {
				e.log.Warn("could not pull; will try again", "error", err)
			}
			continue
		}
		owed = false
		e.storeAnswered()
	}
}

func (e *Engine) watch(ctx context.Context, w *watch.Watcher) {
	if err := w.Run(ctx); err != nil && ctx.Err() == nil {
		e.log.Error("file events ended; relying on scans", "interval", e.cfg.ScanInterval, "error", err)
		e.state.update(func(s *status.Status) { s.Watching = false })
	}
}

// hear turns file events into dirty paths.
func (e *Engine) hear(ctx context.Context, w *watch.Watcher) {
	var overflows uint64
	for {
		select {
		case <-ctx.Done():
			return
		case ev, open := <-w.Events():
			if !open {
				return
			}
			if ev.Kind == watch.Path {
				e.dirty.Touch(entry.Path(ev.Path))
				continue
			}
			for n := w.Overflows(); overflows < n; overflows++ {
				e.metrics.Overflows()
			}
			dir := entry.Path(ev.Path)
			if dir != "" {
				e.dirty.Touch(dir)
				dir += "/"
			}
			e.requestScan(dir)
		}
	}
}

// Flush returns when all that was written before the call is in the bucket.
// With confirm, deletions that the mass-delete guard holds back are let go.
func (e *Engine) Flush(ctx context.Context, confirm bool) error {
	if confirm {
		e.mu.Lock()
		e.confirmed = true
		e.mu.Unlock()
		e.judge.poke()
	}
	e.dirty.Hurry(true)
	defer e.dirty.Hurry(false)
	if err := e.scanNow(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	mark := e.dirty.Mark()
	for {
		if err := e.dirty.Wait(ctx, mark, true); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		// What is left is held: the judge lets it go, or halts.
		switch {
		case !e.dirty.Left(mark):
			return nil
		case e.state.snapshot().HaltedDeletes > 0 && !confirm:
			return fmt.Errorf("flush: %w", e.unsynced(nil))
		}
		if err := sleep(ctx, judgeTick); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
}

// lastFlush is the end of a sync: the app has stopped, or is stopping.
func (e *Engine) lastFlush(ctx context.Context, roster *writers.Roster) error {
	e.state.phase(status.Flushing)
	e.log.Info("stopping: flushing what is left", "timeout", e.cfg.FlushTimeout, "pending", e.dirty.Len())
	flushing, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), e.cfg.FlushTimeout,
		fmt.Errorf("flush-timeout %s is over", e.cfg.FlushTimeout))
	defer cancel()
	if e.readOnly() {
		return nil
	}
	err := e.flushUntilQuiet(flushing)

	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if releaseErr := roster.Release(leaving); releaseErr != nil {
		e.log.Warn("could not take leave of the other writers; they will notice within 90 s", "error", releaseErr)
	}
	if err != nil {
		return e.unsynced(err)
	}
	return nil
}

// flushUntilQuiet flushes until nothing has changed for ShutdownQuiet. While
// the store does not answer it goes on trying.
func (e *Engine) flushUntilQuiet(ctx context.Context) error {
	for {
		mark := e.dirty.Mark()
		err := e.Flush(ctx, false)
		var held *UnsyncedError
		switch {
		case errors.As(err, &held):
			return err
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			if sleep(ctx, flushRetry) != nil {
				return err
			}
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

// unsynced describes what is not in the bucket.
func (e *Engine) unsynced(cause error) *UnsyncedError {
	s := e.Status()
	return &UnsyncedError{Paths: s.PendingPaths, Count: s.Pending, Halted: s.HaltedDeletes, Cause: cause}
}
