package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// A restore of an earlier state is the same plan over another listing: that of
// the bucket as it was then. A read-only volume stays with it. In any other the
// old state is to become the present one, once. So the base is turned
// afterwards: it is made to say that the volume had been in step with the
// present and was then changed to what it holds. All else is an ordinary sync.

// metaTravelled is the moment to which this volume was taken back.
const metaTravelled = "travelled"

// clockGrain is that of the times that stores give to versions.
const clockGrain = time.Second

// frozen is a store as it was at a moment, for reading. What sidecars tell each
// other is as it is now: it has no past.
type frozen struct {
	store.Store
	past store.Reader
	ours string // what begins with it is said by sidecars
}

func (f *frozen) of(key string) store.Reader {
	if strings.HasPrefix(key, f.ours) {
		return f.Store
	}
	return f.past
}

func (f *frozen) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return f.of(prefix).List(ctx, prefix)
}

func (f *frozen) Stat(ctx context.Context, key string) (store.Object, error) {
	return f.of(key).Stat(ctx, key)
}

func (f *frozen) Read(ctx context.Context, key string) ([]byte, store.Object, error) {
	return f.of(key).Read(ctx, key)
}

func (f *frozen) Download(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (store.Object, error) {
	return f.of(key).Download(ctx, key, etag, size, dst)
}

// freeze makes the engine see the bucket as it was at t, until thaw. No worker
// may be running when either is called.
func (e *Engine) freeze(ctx context.Context, fatal func(error) bool, t time.Time) (thaw func(), err error) {
	present := e.store
	err = e.insist(ctx, fatal, func() error {
		past, err := present.At(ctx, t)
		if err == nil {
			e.store = &frozen{Store: present, past: past, ours: e.cfg.Prefix + contract.Reserved}
		}
		return err
	})
	return func() { e.store = present }, err
}

func (e *Engine) isFrozen() bool {
	_, is := e.store.(*frozen)
	return is
}

func fatalForTravel(err error) bool {
	return fatalForRestore(err) || errors.Is(err, store.ErrNoVersions)
}

// moment is how a time is written, in the bucket, the base and sentences.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// restorePast restores what was current at RestoreAt; if that has been done
// already, for this volume or for good, what is current now.
func (e *Engine) restorePast(ctx context.Context) error {
	at := e.cfg.RestoreAt
	// By our own clock, and before anything is asked or written: this is to find
	// a slip of the pen. A store takes no request from a clock that is off by
	// much, so a moment that was refused wrongly is minutes ago, and can be named
	// a little later. One that is accepted wrongly is the present.
	if now := time.Now(); at.After(now) {
		return fmt.Errorf("restore-at %s lies in the future, by the clock of this machine, which says %s: name a moment that has passed",
			moment(at), moment(now.Truncate(time.Second)))
	}
	if !e.readOnly() {
		arrived, err := e.hasTravelled(ctx)
		if err != nil {
			return err
		}
		if arrived {
			return e.fill(ctx)
		}
	}
	thaw, err := e.freeze(ctx, fatalForTravel, at)
	if err != nil {
		return err
	}
	if err := e.insist(ctx, fatalForTravel, func() error { return e.checkNotEmpty(ctx) }); err != nil {
		return err
	}
	e.log.Info("restoring the versions of a moment", "restoreAt", moment(at))
	if e.readOnly() {
		return e.fill(ctx) // and stay there
	}
	begun, err := e.depart(ctx)
	if err != nil {
		return err
	}
	travelling := time.Now()
	e.travelling(true)
	err = e.fill(ctx)
	e.travelling(false)
	thaw()
	if err != nil {
		return err
	}
	if begun, err = e.agree(ctx, begun); err != nil {
		return err
	}
	if err := e.turn(ctx, begun); err != nil {
		return fmt.Errorf("compare the state of %s with that of %s: %w", moment(at), moment(begun), err)
	}
	// What the app writes gets other times than all that is to be undone.
	if err := sleep(ctx, time.Until(travelling.Add(clockGrain))); err != nil {
		return err
	}
	return e.base.SetMeta(metaTravelled, moment(at))
}

func (e *Engine) travelling(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.travels = on
}

// note is where a time travel leaves word, below the prefix.
func (e *Engine) note(what string) string {
	return e.cfg.Prefix + contract.TravelPrefix + moment(e.cfg.RestoreAt) + "/" + what
}

const (
	noteBegun = "begun" // its time of change is what counts
	noteSince = "since" // the moment to which all turn their base
	noteDone  = "done"
)

// hasTravelled reports whether this volume was taken back already, or the
// bucket was, by any.
func (e *Engine) hasTravelled(ctx context.Context) (bool, error) {
	done, err := e.base.Meta(metaTravelled)
	if err != nil || done == moment(e.cfg.RestoreAt) {
		return err == nil, err
	}
	arrived := false
	err = e.insist(ctx, fatalForRestore, func() error {
		_, err := e.store.Stat(ctx, e.note(noteDone))
		arrived = err == nil
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return err
	})
	if arrived {
		e.log.Warn("restoring the present state: "+noEffect, "restoreAt", moment(e.cfg.RestoreAt))
	}
	return arrived, err
}

const noEffect = "restore-at has no effect, because the bucket was taken back to that moment before; " +
	"remove it, or to go there once more name a moment that differs, if only by a second"

// sayNoEffect has the status say so of a sync whose volume was restored, and not
// taken back.
func (e *Engine) sayNoEffect() error {
	if e.cfg.RestoreAt.IsZero() || e.readOnly() {
		return nil
	}
	travelled, err := e.base.Meta(metaTravelled)
	if err != nil || travelled == moment(e.cfg.RestoreAt) {
		return err
	}
	e.state.note(noEffect)
	return nil
}

// checkNotEmpty refuses a moment at which there was nothing: more likely a
// mistake than a wish, and its consequence would be an empty bucket.
func (e *Engine) checkNotEmpty(ctx context.Context) error {
	for _, err := range e.listRemote(ctx, "") {
		return err
	}
	return fmt.Errorf("%w of %s: nothing was there then; name a later moment, or remove restore-at",
		store.ErrNoVersions, moment(e.cfg.RestoreAt))
}

// depart returns the present moment by the store's clock. An attempt that gets
// no further leaves nothing that the next one would mind.
func (e *Engine) depart(ctx context.Context) (begun time.Time, err error) {
	err = e.insist(ctx, fatalForRestore, func() error {
		key := e.note(noteBegun)
		_, err := e.store.Upload(ctx, store.Upload{Key: key, Body: strings.NewReader(e.writer), Size: int64(len(e.writer))})
		if err != nil {
			return err
		}
		// Asked by a listing, as the versions are: a header has full seconds.
		for obj, err := range e.store.List(ctx, key) {
			begun = obj.LastModified
			return err
		}
		return fmt.Errorf("look for %s: %w", key, store.ErrNotFound)
	})
	return begun, err
}

// agree returns the moment at which that pod began which is the first to have
// gone back. What was written later is not undone by any: it may come from the
// app of one that is further.
func (e *Engine) agree(ctx context.Context, begun time.Time) (since time.Time, err error) {
	err = e.insist(ctx, fatalForRestore, func() error {
		if err := e.leaveNote(ctx, noteSince, moment(begun)); err != nil {
			return err
		}
		text, _, err := e.store.Read(ctx, e.note(noteSince))
		if err == nil {
			since, err = time.Parse(time.RFC3339Nano, string(text))
		}
		return err
	})
	return since, err
}

// leaveNote writes it if it is not there.
func (e *Engine) leaveNote(ctx context.Context, what, text string) error {
	_, err := e.send(ctx, store.Upload{
		Key: e.note(what), Body: strings.NewReader(text), Size: int64(len(text)),
		Condition: store.Condition{IfAbsent: true},
	})
	if errors.Is(err, store.ErrPrecondition) {
		return nil
	}
	return err
}

// turn makes the base speak of the bucket at the moment begun instead of the
// one that was restored. The volume stays as it is.
func (e *Engine) turn(ctx context.Context, begun time.Time) error {
	thaw, err := e.freeze(ctx, fatalForTravel, begun)
	if err != nil {
		return err
	}
	defer thaw()
	return e.insist(ctx, fatalForTravel, func() error {
		var b batch
		err := e.turnAll(ctx, &b)
		return errors.Join(err, b.wait())
	})
}

func (e *Engine) turnAll(ctx context.Context, b *batch) error {
	nothing := func(func(entry.Local, error) bool) {}
	for item, err := range plan.Merge(nothing, e.listRemote(ctx, ""), e.base.Range("")) {
		switch {
		case err != nil:
			return err
		case !e.filter.Match(item.Key):
		case item.Remote == nil:
			e.base.Delete(item.Key, b.add())
		default:
			e.base.Put(turned(item), b.add())
		}
	}
	return nil
}

// turned is what the base says of an object that there is: that the volume has
// it, has it in another state, or had it removed.
func turned(item plan.Item) entry.Base {
	etag, _ := store.SplitETag(item.Remote.ETag)
	switch base := item.Base; {
	case base == nil || base.Removed():
		return entry.Base{Key: item.Key, ETag: etag}
	case base.ETag == item.Remote.ETag, base.ETag == etag && base.Local.Inode != 0: // the latter was turned before
		return entry.Base{Key: item.Key, Local: base.Local, Attrs: base.Attrs, ETag: etag}
	}
	return entry.Base{Key: item.Key, Local: entry.Fingerprint{Kind: entry.File}, ETag: etag}
}

// batch waits for changes of the base.
type batch struct {
	pending sync.WaitGroup
	mu      sync.Mutex
	err     error
}

func (b *batch) add() (done func(error)) {
	b.pending.Add(1)
	return func(err error) {
		b.mu.Lock()
		b.err = errors.Join(b.err, err)
		b.mu.Unlock()
		b.pending.Done()
	}
}

func (b *batch) wait() error {
	b.pending.Wait()
	return b.err
}

// arriveLoop notes in the bucket, once it is so, that the old state is the
// present one.
func (e *Engine) arriveLoop(ctx context.Context) {
	if e.cfg.RestoreAt.IsZero() || e.readOnly() {
		return
	}
	p := newPacer(e.gate, retryMost)
	for {
		err := e.flush(ctx, false)
		if err == nil {
			err = e.arrive(ctx)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		e.log.Debug("the restored state is not in the bucket yet", "error", err)
		if p.wait(ctx) != nil {
			return
		}
	}
}

// arrive follows a flush. A volume that was not taken back has nothing to note.
func (e *Engine) arrive(ctx context.Context) error {
	if e.cfg.RestoreAt.IsZero() || e.readOnly() {
		return nil
	}
	at := moment(e.cfg.RestoreAt)
	travelled, err := e.base.Meta(metaTravelled)
	if err != nil || travelled != at {
		return err
	}
	if err := e.leaveNote(ctx, noteDone, e.writer); err != nil {
		return fmt.Errorf("note that restore-at %s is done: %w", at, err)
	}
	e.log.Info("the restored state is the present one in the bucket", "restoreAt", at)
	return nil
}
