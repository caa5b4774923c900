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
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/watch"
	"github.com/minio-sidecar/minio-sidecar/syncer/writers"
)

const (
	// rosterInterval is how often the other writers are looked for, and how
	// often the bucket is listed while there are any.
	rosterInterval = 3 * time.Second
	// followInterval is how often a read-only volume lists the bucket.
	followInterval = 10 * time.Second
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
	if restored != "" {
		if err := e.sayNoEffect(); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	}
	left, err := e.base.Unfinished()
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	e.unfinished.add(left)
	watcher, err := watch.New(e.tree.Path(), watch.Options{Reserved: contract.Reserved, Logger: e.log})
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	e.state.phase(status.Syncing)
	e.state.watching(watcher.Degraded)
	e.setRules(plan.Rules{Push: !e.readOnly()})

	// The loops outlive ctx: the last flush needs them.
	life, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	wait := e.start(life, e.judgeLoop, e.scanLoop, e.arriveLoop, e.mendLoop,
		func(ctx context.Context) { e.watch(ctx, watcher) },
		func(ctx context.Context) { e.hear(ctx, watcher) },
	)
	working := sync.OnceValue(func() func() { return e.start(life, e.work) })
	m := e.meeting(func() { working() })
	if err = m.converse(ctx, watcher); err == nil {
		err = m.lastFlush(ctx)
		// While uploads that are given up tidy up behind them: where the store
		// does not answer, both take their time.
		leaving := e.start(context.WithoutCancel(ctx), m.takeLeave)
		defer leaving()
	}
	stop(errors.New("sync has ended"))
	working()()
	wait()
	e.state.phase(status.Stopped)
	return err
}

// meeting is what a sync has with the bucket and with the other writers.
type meeting struct {
	*Engine
	roster *writers.Roster
	work   func() // starts the workers, once
	owed   bool   // a pull has failed
	lost   bool   // the last look at the others has failed
	unsure bool   // it is not known whether conditions are honoured
	tidied time.Time
	// What is done beside each look around, and may be refused for ever.
	aborting, probing *pacer
}

func (e *Engine) meeting(work func()) *meeting {
	return &meeting{
		Engine: e, roster: writers.New(e.store, e.cfg.Prefix, e.writer), work: work,
		aborting: newPacer(e.gate, time.Minute), probing: newPacer(e.gate, time.Minute),
	}
}

// converse is the life of a sync: get in step, then keep an eye on the other
// writers. It returns nil when ctx ends, and an error when only a new start
// can help.
func (m *meeting) converse(ctx context.Context, watcher *watch.Watcher) error {
	select { // watch first, so that nothing falls between the scan and the watch
	case <-watcher.Ready():
	case <-ctx.Done():
		return nil
	}
	m.state.update(func(s *status.Status) { s.Watching = true })
	if err := m.getInStep(ctx); errors.Is(err, ErrBucketReplaced) {
		return err
	} else if err != nil {
		return nil
	}
	if !m.readOnly() {
		m.tidyUp(ctx)
	}
	return m.attend(ctx)
}

// getInStep gets to know the store and the bucket and finds every difference.
// The workers start once it is clear that the base speaks of this bucket, and
// deletions are let through once a listing was complete. It ends early only
// with ctx, and can then be called again, or with [ErrBucketReplaced].
func (m *meeting) getInStep(ctx context.Context) error {
	never := func(error) bool { return false }
	if err := m.connect(ctx, never); err != nil {
		return err
	}
	if m.readOnly() && !m.cfg.RestoreAt.IsZero() && !m.isFrozen() {
		if _, err := m.freeze(ctx, never, m.cfg.RestoreAt); err != nil {
			return err
		}
	}
	if err := m.insist(ctx, never, func() error { return m.knowRemote(ctx, !m.readOnly()) }); err != nil {
		return err
	}
	if !m.readOnly() { // before anything is written
		tries := 0
		if err := m.insist(ctx, never, func() error {
			tries++
			err := m.tryConditions(ctx)
			if m.unsure = err != nil && tries == conditionTries && ctx.Err() == nil; m.unsure {
				m.log.Warn("could not find out whether the store honours conditional writes; looking before each write, and asking on", "error", err)
				return nil
			}
			return err
		}); err != nil {
			return err
		}
	}
	m.work()
	if !m.readOnly() {
		m.succeed(ctx)
		// Before the listing: what those writers did that are gone by now, the
		// listing shows; if this look fails the next one finds them new.
		if _, _, err := m.roster.Look(ctx); err != nil {
			m.log.Warn("could not announce this writer; will try again", "error", err)
		}
	}
	if err := m.recallAll(ctx); err != nil {
		return err
	}
	replaced := func(err error) bool { return errors.Is(err, ErrBucketReplaced) }
	if err := m.listedPass(ctx, replaced); err != nil {
		return err
	}
	// A volume that was complete before does not wait for what may take long,
	// such as a large upload.
	if !m.Status().Restored {
		if err := m.dirty.Wait(ctx, m.dirty.Mark(), true); err != nil {
			return err
		}
		if err := m.base.SetMeta(metaRestored, "true"); err != nil {
			m.log.Error("could not note that the volume is complete", "error", err)
		}
	}
	m.setRules(plan.Rules{Push: !m.readOnly(), Delete: !m.readOnly() && m.cfg.Delete})
	m.state.update(func(s *status.Status) { s.Restored = true })
	m.log.Info("volume and bucket are in step", "entries", m.base.Len())
	close(m.inStep)
	m.requestScan("") // for deletions that happened meanwhile
	return nil
}

// succeed takes the place of the sync that had this base before. Where that was
// killed the others, and this one, would see it for a minute and a half.
func (m *meeting) succeed(ctx context.Context) {
	former, err := m.base.Meta(metaWriter)
	if err == nil && former == m.writer {
		return
	}
	if err == nil && former != "" {
		err = m.roster.Dismiss(ctx, former)
	}
	if err = errors.Join(err, m.base.SetMeta(metaWriter, m.writer)); err != nil {
		m.log.Debug("could not take the place of an earlier sync: it counts as another writer until it has been silent for long", "error", err)
	}
}

// leftoverAge is when an unfinished multipart upload is taken for one that a
// crash left behind. A large file on a slow line may take hours.
const leftoverAge = 24 * time.Hour

// tidyUp drops what crashed uploads left behind, unseen but paid for.
// It is done at the start, and as often as it takes for one to be taken for
// left behind.
func (m *meeting) tidyUp(ctx context.Context) {
	m.tidied = time.Now()
	m.abortThose(ctx)
	n, err := m.store.AbortUploads(ctx, m.cfg.Prefix, leftoverAge)
	if err != nil {
		m.log.Warn("could not drop unfinished uploads", "error", err)
	}
	if n > 0 {
		m.log.Info("dropped unfinished uploads that a crash had left behind", "uploads", n)
	}
}

// conditionTries is how often a store is asked before anything else: it takes a
// dozen requests, and one that refuses every third may never get through them.
const conditionTries = 4

// tryConditions learns whether the store honours conditional writes, and says
// what it means if not. A store that does not answer is asked again; where the
// answer is that it may not be tried, the worse is assumed.
func (e *Engine) tryConditions(ctx context.Context) error {
	honoured, err := e.store.ConditionalWrites(ctx, e.cfg.Prefix)
	note := "the store ignores conditional writes: two writers of one file within the same second may overwrite each other"
	switch {
	case honoured: // even if it could not tidy up
	case errors.Is(err, store.ErrUnreachable), errors.Is(err, store.ErrNoBucket), ctx.Err() != nil:
		return err
	case err != nil:
		note = "could not find out whether the store honours conditional writes: " + err.Error()
	}
	e.mu.Lock()
	e.lookFirst, e.unconditional = !honoured, err == nil && !honoured
	e.mu.Unlock()
	if !honoured {
		e.state.note(note)
		e.log.Warn("the store is limited", "note", note)
	}
	return nil
}

// abortThose aborts what was left unfinished, if that has not just failed.
func (m *meeting) abortThose(ctx context.Context) {
	if !m.aborting.due() {
		return
	}
	if m.abortUnfinished(ctx) != nil {
		m.aborting.failed()
	} else {
		m.aborting.ok()
	}
}

// makeSure asks again whether conditions are honoured, as long as it is not known.
func (m *meeting) makeSure(ctx context.Context) {
	if !m.unsure || !m.probing.due() {
		return
	}
	if m.unsure = m.tryConditions(ctx) != nil; m.unsure {
		m.probing.failed()
	}
}

// attend pulls while there are other writers, and once more after each leaves.
func (m *meeting) attend(ctx context.Context) error {
	p := newPacer(m.gate, retryMost)
	var err error
	// From the end of a look to the next: deletions wait for the end of a listing,
	// however long it takes, and have their turn before the next one begins.
	for p.after(ctx, m.attendEvery, err) == nil {
		if err = m.lookAround(ctx); errors.Is(err, ErrBucketReplaced) {
			return err
		}
	}
	return nil
}

// lookAround looks for the other writers, and pulls if there is reason to. Where
// it ends in [ErrBucketReplaced] a new start is needed.
func (m *meeting) lookAround(ctx context.Context) error {
	pull := m.readOnly() && !m.isFrozen()
	if !m.readOnly() {
		others, news, err := m.roster.Look(ctx)
		if errors.Is(err, writers.ErrForgotten) {
			return ErrBucketReplaced
		}
		if err != nil {
			m.lost = true
			m.missed(ctx, err)
			return err
		}
		if m.lost || m.dirty.Len() == 0 { // and perhaps nobody else will ask
			m.lost = false
			m.storeAnswered()
		}
		m.state.update(func(s *status.Status) { s.OtherWriters = others })
		if time.Since(m.tidied) >= leftoverAge {
			m.tidyUp(ctx)
		} else {
			m.abortThose(ctx)
		}
		m.makeSure(ctx)
		pull = m.owed || news || len(others) > 0
	}
	if !pull && !m.listDue(time.Now()) {
		return nil
	}
	m.listing()
	if err := m.pass(ctx, "", true); err != nil {
		if errors.Is(err, ErrBucketReplaced) {
			return err
		}
		m.owed = true
		m.missed(ctx, err)
		return err
	}
	m.owed = false
	m.storeAnswered()
	return nil
}

// missed notes that a look around has failed, unless that is how it ends.
func (m *meeting) missed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		m.state.fail(err)
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
				// While there is no room, events collapse in the watcher, to
				// fewer that reach further.
				if e.dirty.Room(ctx) != nil {
					return
				}
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
