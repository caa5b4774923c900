package syncer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// pass finds every difference at and below dir ("" or ending in "/") and makes
// it dirty. Where listed is set the bucket is listed as well; otherwise the
// objects are taken to be what the base says. A pass that ends in an error has
// concluded nothing about what it did not reach.
func (e *Engine) pass(ctx context.Context, dir string, listed bool) (err error) {
	started, deletions := time.Now(), 0
	e.passing(+1)
	defer func() {
		// What the whole pass has found counts as found together: a new name
		// may be seconds after the old one in key order. So does what those
		// before it have found that failed.
		from := started
		if e.concluded(dir, listed, deletions, err) {
			from = time.Time{}
		}
		e.dirty.Scanned(from)
		e.passing(-1)
	}()

	remote := iter.Seq2[entry.Remote, error](func(func(entry.Remote, error) bool) {})
	if listed {
		remote = e.listRemote(ctx, dir)
	}
	rules := e.currentRules()
	scan := e.state.scanBegins()
	var hardLinks int64
	var gone map[string]struct{} // what was noted of objects that are not listed any more
	if listed && dir == "" {
		gone = e.state.unsyncableInBucket()
	}
	for item, err := range plan.Merge(e.tree.Scan(ctx, dir), remote, e.base.Range(dir)) {
		if err != nil {
			return err
		}
		if item.Remote != nil {
			delete(gone, item.Key)
		}
		if !e.filter.Match(item.Key) {
			continue
		}
		if l := item.Local; l != nil && l.Kind == entry.File && l.Links > 1 {
			hardLinks++
		}
		if l := item.Local; l != nil && (l.Kind == entry.Special || l.Kind == entry.Opaque) {
			e.unsyncable(item.Key, l.Reason)
			continue
		}
		if item.Local == nil && item.Base != nil && entry.IsDir(item.Key) {
			// A scan does not yield a folder that needs no object; this one may
			// have one from when it was empty, and is not gone.
			if l, _, ok, err := e.tree.Lookup(item.Key); err == nil && ok && l.Kind == entry.Dir {
				item.Local = &l
			}
		}
		var hint *dirty.Remote
		if listed {
			hint = &dirty.Remote{Object: item.Remote}
		} else if item.Base != nil {
			item.Remote = &entry.Remote{Key: item.Key, ETag: item.Base.ETag}
		}
		op := rules.Allow(plan.Decide(item))
		if op == plan.None {
			if err := e.dirty.Recheck(ctx, item.Key); err != nil {
				return err
			}
			continue
		}
		switch op {
		case plan.Download, plan.Resolve:
			e.state.expected(item.Remote.Size)
		case plan.DeleteRemote, plan.DeleteLocal:
			deletions++
			if e.dirty.Holds(item.Key, hint) {
				continue
			}
		}
		if err := e.dirty.Found(ctx, item.Key, hint); err != nil {
			return err
		}
	}
	for _, key := range e.state.unsyncableInVolume(dir) {
		if !e.inVolume(key) {
			e.synced(key) // it has gone, with its folder: no event named it
		}
	}
	for key := range gone {
		e.synced(key)
	}
	if dir == "" {
		if rules.Push { // otherwise it says nothing of what is not to be pushed
			e.state.scanComplete(scan, listed)
		}
		e.metrics.ScanDuration(time.Since(started))
		if e.state.hardLinks(hardLinks) && hardLinks > 0 {
			e.log.Info("there are hard links; each is a file of its own in the bucket", "paths", hardLinks)
		}
	}
	return nil
}

func (e *Engine) passing(delta int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.scanning += delta
	if e.scanning == 0 {
		e.judge.poke()
	}
}

// listRemote yields the objects of the prefix that can be paths in a volume.
// The others are reported, and never touched.
func (e *Engine) listRemote(ctx context.Context, dir string) iter.Seq2[entry.Remote, error] {
	return func(yield func(entry.Remote, error) bool) {
		identified := false
		for obj, err := range e.store.List(ctx, e.cfg.Prefix+dir) {
			if err != nil {
				yield(entry.Remote{}, err)
				return
			}
			e.odometer.moved.Add(1)
			r := e.remote(obj)
			identified = identified || r.Key == contract.IdentityKey
			if r.Key == "" || reserved(r.Key) { // the prefix's own folder object, or ours
				continue
			}
			if err := tree.ValidKey(r.Key); err != nil {
				e.unsyncable(r.Key, "name: "+err.Error())
				continue
			}
			if !yield(r, nil) {
				return
			}
		}
		if dir != "" || identified || e.isFrozen() { // of the past, the prefix may be older than its identity
			return
		}
		if err := e.unidentified(ctx); err != nil {
			yield(entry.Remote{}, err)
		}
	}
}

// unidentified judges a listing of the whole prefix that lacks the prefix's
// identity. Where there is one, the listing is not of this prefix: what
// answered was not the store, but something that says "empty" in its place.
func (e *Engine) unidentified(ctx context.Context) error {
	known, err := e.base.Meta(metaRemote)
	if err != nil || known == "" {
		return err
	}
	key := e.cfg.Prefix + contract.IdentityKey
	_, err = e.store.Stat(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return ErrBucketReplaced
	case err != nil:
		return err
	}
	return fmt.Errorf("list %s: the answer lacks %s, which is there: %w", e.cfg.Prefix, key, store.ErrUnreachable)
}

func reserved(key string) bool {
	return len(key) >= len(contract.Reserved) && key[:len(contract.Reserved)] == contract.Reserved
}

func (e *Engine) remote(obj store.Object) entry.Remote {
	return entry.Remote{
		Key:   obj.Key[len(e.cfg.Prefix):],
		Size:  obj.Size,
		ETag:  obj.ETag,
		MTime: entry.TimeOf(obj.LastModified),
	}
}

// scanRequest asks the pass loop for a pass; done, where set, gets its end.
type scanRequest struct {
	dir  string
	done chan<- error
}

// requestScan asks for a local scan of dir, and never waits: if the loop is
// too far behind, one scan of everything covers all.
func (e *Engine) requestScan(dir string) {
	select {
	case e.scans <- scanRequest{dir: dir}:
	default:
		select {
		case e.scanAll <- struct{}{}:
		default: // asked for already, and not begun
		}
	}
}

// scanNow runs a local scan of everything and returns when it has ended.
func (e *Engine) scanNow(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case e.scans <- scanRequest{done: done}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// scanLoop runs the passes, one at a time: those that are asked for, and a
// full local scan every ScanInterval, the safety net under file events.
func (e *Engine) scanLoop(ctx context.Context) {
	ticker := time.NewTicker(e.cfg.ScanInterval)
	defer ticker.Stop()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	failed := false // the last of them
	for {
		dirs := []string{""}
		var waiting []chan<- error
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-retry.C:
		case <-e.scanAll:
		case first := <-e.scans:
			dirs, waiting = e.gather(first)
		}
		err := e.passes(ctx, dirs)
		for _, done := range waiting {
			done <- err
		}
		if err != nil && ctx.Err() == nil {
			e.log.Warn("scan failed; nothing is deleted on its account; will try again", "folders", dirs, "error", err)
			e.state.fail(fmt.Errorf("scan the volume: %w", err))
			failed = true
			retry.Reset(scanRetry)
			continue
		}
		if err == nil && dirs[0] == "" {
			e.volumeBack(failed)
			failed = false
		}
	}
}

// scanRetry is how soon a failed scan is followed by a full one.
const scanRetry = 5 * time.Second

// volumeBack clears the condition that a failed scan had set, after one that
// succeeded. Of the store it knows nothing, but where an upload had found it
// away that has nothing to do any more nobody else would ask.
func (e *Engine) volumeBack(failed bool) {
	idle := e.gate.down() && e.dirty.Len() == 0
	if (failed || idle) && e.gate.wait() == 0 && e.state.ok() {
		e.log.Info("scan succeeds again")
	}
}

// passes is one local pass of several folders.
func (e *Engine) passes(ctx context.Context, dirs []string) error {
	e.passing(+1) // deletions wait for all of them
	defer e.passing(-1)
	for _, dir := range dirs {
		if err := e.pass(ctx, dir, false); err != nil {
			return err
		}
	}
	return nil
}

// gather takes what else is waiting, and returns the folders to look at: none
// of them in another one, since a volume may be too large to be looked through
// for each two folders that are made in it.
func (e *Engine) gather(first scanRequest) (dirs []string, waiting []chan<- error) {
	for next := first; ; {
		dirs = append(dirs, next.dir)
		if next.done != nil {
			waiting = append(waiting, next.done)
		}
		select {
		case next = <-e.scans:
			continue
		case <-e.scanAll:
			next = scanRequest{}
			continue
		default:
		}
		return outermost(dirs), waiting
	}
}

// outermost leaves out folders that are in another one.
func outermost(dirs []string) []string {
	slices.Sort(dirs)
	kept := dirs[:1]
	for _, dir := range dirs[1:] {
		if !strings.HasPrefix(dir, kept[len(kept)-1]) {
			kept = append(kept, dir)
		}
	}
	return kept
}
