package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/metrics"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// replans is how often one look follows an object that keeps changing.
const replans = 4

// result is what a look at one path came to.
type result struct {
	outcome dirty.Outcome
	reason  string
	put     *entry.Base // what both sides agree on now
	forget  bool        // neither side has it any more
}

// settles reports whether it is known what the bucket has.
func (r result) settles() bool {
	return r.put != nil || r.forget || r.outcome == dirty.Settled
}

// work looks at dirty paths until ctx ends, and returns when all are done.
func (e *Engine) work(ctx context.Context) {
	slots := make(chan struct{}, e.cfg.Concurrency)
	for {
		slots <- struct{}{} // also when ctx has ended: the looks then end soon, and all are waited for
		w, err := e.dirty.Next(ctx)
		if err != nil {
			break
		}
		go func() {
			defer func() { <-slots }()
			e.process(ctx, w)
		}()
	}
	for range cap(slots) - 1 { // the loop itself holds one
		slots <- struct{}{}
	}
}

// process looks at one path, and ends the look once the base has it.
func (e *Engine) process(ctx context.Context, w dirty.Work) {
	r, err := e.look(ctx, w)
	settled := err == nil && r.settles()
	if err != nil {
		r = e.judgeError(ctx, w, err)
	}
	if r.outcome != dirty.Retry && r.outcome != dirty.Failed && r.outcome != dirty.Missed {
		e.state.over(w.Key)
	}
	done := func(err error) {
		if err != nil {
			e.log.Error("could not record what was synced", "path", w.Key, "error", err)
			e.dirty.Done(w.Key, dirty.Retry, err.Error())
			return
		}
		if settled {
			e.base.Settled(w.Key)
			e.sent(w.Key, r.put != nil)
		}
		if r.put != nil && !e.restoring() {
			e.followEntry(w.Key)
		}
		e.dirty.Done(w.Key, r.outcome, r.reason)
		if r.outcome == dirty.Hold {
			e.judge.poke()
		}
	}
	switch {
	case r.put != nil:
		e.base.Put(*r.put, done)
	case r.forget:
		e.base.Delete(w.Key, done)
	default:
		done(nil)
	}
}

func (e *Engine) unsyncable(key, reason string) {
	switch e.state.unsync(key, reason, e.holds(key)) {
	case byName:
		e.log.Warn("path cannot be synced", "path", key, "reason", reason)
	case first:
		e.log.Warn("too many paths cannot be synced to name each; the status counts all of them",
			"named", namedMax, "path", key, "reason", reason)
	}
}

// synced takes back that key cannot be synced. A folder that could not be read
// may be full of what is not known yet.
func (e *Engine) synced(key string) {
	if e.state.unsynced(key) && entry.IsDir(key) {
		e.requestScan(key)
	}
}

// inVolume reports whether the volume has, or may have, what key means.
func (e *Engine) inVolume(key string) bool { return e.holds(key).here }

// holds tells what the volume has, or may have, of what key means. A socket, a
// FIFO or a device has nothing that could be missing in the bucket, and what is
// mounted in the volume is not the volume's.
func (e *Engine) holds(key string) holding {
	if tree.ValidKey(key) != nil {
		return holding{}
	}
	l, marked, ok, err := e.tree.Lookup(key)
	switch {
	case err != nil:
		return holding{here: true, missing: true}
	case !ok || entry.IsDir(key) != isFolder(l):
		return holding{}
	case l.Kind == entry.Special || l.Reason == tree.ReasonMount:
		return holding{here: true}
	}
	b, err := e.base.Get(key)
	if l.Kind == entry.Dir && !marked && b == nil && err == nil {
		return holding{} // it was empty a moment ago, and needs no object any more
	}
	agreed := err == nil && b != nil && plan.Item{Local: &l, Base: b}.LocalChange() == plan.Same
	return holding{here: true, missing: !agreed}
}

// isFolder reports whether l is a folder, be it one that cannot be read.
func isFolder(l entry.Local) bool { return l.Kind == entry.Dir || l.Kind == entry.Opaque }

// look plans one path from what all sides say of it now, and does it.
func (e *Engine) look(ctx context.Context, w dirty.Work) (result, error) {
	if !e.filter.Match(w.Key) {
		return result{}, nil
	}
	known, asked := w.Remote, false
	for range replans {
		own, err := e.recall(ctx, w.Key)
		if err != nil {
			return result{}, err
		}
		item, err := e.item(w.Key, own.landed)
		switch {
		case err != nil:
			return result{}, err
		case own.asked:
			item.Remote = own.remote
		case known != nil:
			item.Remote = known.Object
		case item.Base != nil:
			// Nobody said otherwise, so the object is what it was; the condition
			// of the write finds out if it is not.
			item.Remote = &entry.Remote{Key: w.Key, ETag: item.Base.ETag}
		}
		if own.underWay && item.Local == nil && item.Remote == nil {
			return result{outcome: dirty.Retry, reason: "deleted while its upload may still be under way"}, nil
		}
		r, err := e.apply(ctx, w, item)
		if !errors.Is(err, store.ErrPrecondition) && !errors.Is(err, store.ErrNotFound) {
			// A look that needed no word of the store says nothing about it.
			if err == nil && (asked || own.asked || r.put != nil || r.forget) {
				e.storeAnswered()
			}
			return own.remember(r), err
		}
		known, asked = &dirty.Remote{}, true
		if known.Object, err = e.stat(ctx, w.Key); err != nil {
			return result{}, err
		}
	}
	return result{outcome: dirty.Unrest, reason: "the object keeps changing"}, nil
}

func (e *Engine) storeAnswered() {
	if e.gate.ok() {
		e.dirty.Resume()
	}
	if e.state.ok() {
		e.log.Info("store takes part again")
	}
}

// item reads what the volume and the base say of key. An upload of our own
// that was found to have landed is the base, though not yet written down.
func (e *Engine) item(key string, landed *entry.Base) (plan.Item, error) {
	item := plan.Item{Key: key, Base: landed}
	if landed == nil {
		var err error
		if item.Base, err = e.base.Get(key); err != nil {
			return item, err
		}
	}
	e.pruning.RLock()
	l, marked, ok, err := e.tree.Lookup(entry.Path(key))
	e.pruning.RUnlock()
	switch {
	case err != nil:
		return item, fmt.Errorf("look at %s: %w", key, err)
	case !ok:
	case l.Kind == entry.Special && !entry.IsDir(key), l.Kind == entry.Opaque && entry.IsDir(key):
		return item, &unsyncableError{reason: l.Reason}
	case entry.IsDir(key) != isFolder(l):
		// A file where the key means a folder, or the reverse: what the key
		// means is not there.
	case l.Kind == entry.Dir && !marked && item.Base == nil:
		// Implied by what is in it; it needs no object.
	default:
		item.Local = &l
	}
	if !entry.IsDir(key) {
		e.followFolder(key, ok && isFolder(l), !ok)
	}
	return item, nil
}

// followFolder looks on where an event named a folder by its bare name: at
// the folder's own object, and at all that was in a folder that is gone.
func (e *Engine) followFolder(key string, isDir, gone bool) {
	folder := key + "/"
	if isDir {
		e.dirty.TouchFor(folder, key)
		return
	}
	if !gone {
		return
	}
	e.synced(folder)
	for range e.base.Range(folder) {
		e.requestScan(folder)
		return
	}
}

// followEntry looks on where an entry is gone by the time that the base has it.
// A folder that is renamed or removed while something in it is on its way
// tells of itself alone, and neither an event nor a scan found in the base that
// there was anything to be taken away.
func (e *Engine) followEntry(key string) {
	l, _, ok, err := e.tree.Lookup(entry.Path(key))
	if err != nil || !ok || entry.IsDir(key) != (l.Kind == entry.Dir) {
		e.dirty.TouchFor(key, key)
	}
}

func (e *Engine) stat(ctx context.Context, key string) (*entry.Remote, error) {
	obj, err := e.store.Stat(ctx, e.cfg.Prefix+key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := e.remote(obj)
	return &r, nil
}

// apply does what the plan says. ErrPrecondition and ErrNotFound mean that
// the object is not what item says: ask, and plan again.
func (e *Engine) apply(ctx context.Context, w dirty.Work, item plan.Item) (result, error) {
	op := e.currentRules().Allow(plan.Decide(item))
	if op != plan.None {
		e.log.Debug("plan", "path", item.Key, "op", op.String())
	}
	switch op {
	case plan.Upload:
		return e.tryUpload(ctx, w, item)
	case plan.Download:
		return pulling(e.download(ctx, item))
	case plan.Resolve:
		return e.resolve(ctx, item)
	case plan.DeleteLocal:
		return e.follow(ctx, w, item)
	case plan.DeleteRemote:
		if name := e.renamedTo(*item.Base); name != "" && e.state.isUnsyncable(name) {
			return result{}, &unsyncableError{"renamed: " + name + " cannot be synced, so its old name is kept"}
		}
		// What a person had removed by naming a moment is no accident of the
		// volume's; the versions of it stay.
		if !w.MayDelete && !item.Base.Removed() {
			e.keepFolder(item.Key)
			return held(op), nil
		}
		return e.deleteRemote(ctx, item)
	case plan.None, plan.Forget:
		if item.Local == nil && item.Remote == nil && e.wasUnreadable(item.Key) {
			return result{}, e.sawVanish(ctx, item.Key)
		}
	}
	if op == plan.Forget {
		// A listing may be older than our own upload: an object that is not
		// remembered would come back as somebody else's.
		if err := e.sureOfAbsence(ctx, item.Key); err != nil {
			return result{}, err
		}
		e.synced(item.Key)
		return result{forget: true}, nil
	}
	if item.Local == nil || item.Remote != nil {
		e.synced(item.Key)
	}
	return result{}, nil
}

// deleteRemote applies a local deletion to the bucket, after one more look at
// whether this is still the volume that was restored.
func (e *Engine) deleteRemote(ctx context.Context, item plan.Item) (result, error) {
	if err := e.sameVolume(); err != nil {
		return result{}, err
	}
	if name := e.renamedTo(*item.Base); name != "" {
		return result{outcome: dirty.Retry, reason: "renamed to " + name + ", which is not in the bucket yet"}, nil
	}
	if err := e.keepAround(ctx, item.Key); err != nil {
		return result{}, err
	}
	if err := e.store.Delete(ctx, e.cfg.Prefix+item.Key, item.Base.ETag); err != nil {
		return result{}, err
	}
	e.metrics.Deletes(metrics.Remote)
	e.takesAgain()
	e.synced(item.Key)
	if parent := parentKey(item.Key); parent != "" {
		e.dirty.TouchFor(parent, item.Key) // it may be empty now, and need an object to exist
	}
	if l, _, ok, err := e.tree.Lookup(item.Key); err == nil && ok && l.Kind == entry.Dir && !entry.IsDir(item.Key) {
		e.requestScan(item.Key + "/") // what is in it may have waited in vain for the name
	}
	return result{forget: true}, nil
}

// keepFolder has the folder looked at in which key was. It may be empty now, and
// then needs an object of its own to exist, in the bucket before the last one
// that implies it goes.
func (e *Engine) keepFolder(key string) {
	for folder := parentKey(key); folder != ""; folder = parentKey(folder) {
		if l, _, ok, err := e.tree.Lookup(folder); err == nil && ok && l.Kind == entry.Dir {
			e.dirty.TouchFor(folder, key)
			return
		}
	}
}

// sureOfAbsence returns nil if the store has no such object now. What a
// listing said may be older than our own upload of this key.
func (e *Engine) sureOfAbsence(ctx context.Context, key string) error {
	switch _, err := e.store.Stat(ctx, e.cfg.Prefix+key); {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("delete %s: %w", key, store.ErrPrecondition)
}

// held is the result where a deletion waits for the judge.
func held(op plan.Op) result { return result{outcome: dirty.Hold, reason: op.String()} }

// follow applies a remote deletion to the volume, if it is one. That is asked
// before it is held, too: held in vain, it would count as a change that is not
// in the bucket, and a mass of them as an accident.
func (e *Engine) follow(ctx context.Context, w dirty.Work, item plan.Item) (result, error) {
	damaged := false
	err := e.sureOfAbsence(ctx, item.Key)
	if err == nil {
		damaged, err = e.notedDamaged(ctx, item.Key)
	}
	switch {
	case err != nil:
		return pulling(result{}, err)
	case damaged:
		return e.heal(ctx, w, item) // which is to get to the bucket, not to come from there
	case !w.MayDelete:
		return held(plan.DeleteLocal), nil
	}
	return pulling(e.deleteLocal(w, item))
}

// deleteLocal deletes a file in the volume.
func (e *Engine) deleteLocal(w dirty.Work, item plan.Item) (result, error) {
	e.pruning.Lock()
	err := e.tree.Remove(item.Key, item.Local.Fingerprint)
	var pruned error
	if err == nil {
		pruned = e.tree.PruneParents(item.Key, func(dir string) bool {
			b, err := e.base.Get(dir)
			return b != nil || err != nil // a folder with an object of its own stays
		})
	}
	e.pruning.Unlock()
	if errors.Is(err, tree.ErrNotEmpty) {
		if w.Attempts < patience {
			return result{outcome: dirty.Retry, reason: "folder is not empty yet"}, nil
		}
		return result{forget: true}, nil // implied by what is still in it
	}
	if err != nil {
		return result{}, err
	}
	e.metrics.Deletes(metrics.Local)
	e.synced(item.Key)
	e.unblocked()
	return result{forget: true}, pruned
}

// parentKey is the key of the folder that key is in; "" is the root.
func parentKey(key string) string {
	p := entry.Path(key)
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] == '/' {
			return p[:i+1]
		}
	}
	return ""
}
