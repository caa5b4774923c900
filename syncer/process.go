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
	refused bool        // by the store, which lets us in
}

// settles reports whether it is known what the bucket has.
func (r result) settles() bool {
	return r.put != nil || r.forget || r.outcome == dirty.Settled
}

// work looks at dirty paths until ctx ends, and returns when all are done.
func (e *Engine) work(ctx context.Context) {
	for {
		n := e.lanes.enter() // also when ctx has ended: the looks then end soon, and all are waited for
		w, err := e.dirty.Next(ctx)
		if err != nil {
			n.leave()
			break
		}
		go func() {
			defer n.leave()
			e.process(ctx, w, n)
		}()
	}
	e.lanes.idle()
}

// process looks at one path, and ends the look once the base has it.
func (e *Engine) process(ctx context.Context, w dirty.Work, n lane) {
	r, err := e.look(ctx, w)
	switch {
	case errors.Is(err, store.ErrBusy):
		n.busy()
	case err == nil && r.put != nil:
		n.taken()
	}
	settled := err == nil && r.settles()
	if err != nil {
		r = e.judgeError(ctx, w, err)
	}
	switch r.outcome {
	case dirty.Retry, dirty.Failed, dirty.Deferred, dirty.Missed:
	default:
		e.state.over(w.Key)
	}
	for _, key := range e.refused.ended(w.Key, r.put != nil || r.forget, r.refused || r.outcome == dirty.Deferred) {
		e.dirty.Again(key)
	}
	done := func(err error) {
		if err != nil {
			e.records.keep(w.Key, r.put)
			e.notRecorded(err)
			e.dirty.Done(w.Key, dirty.Retry, err.Error())
			return
		}
		if r.put != nil || r.forget {
			e.records.keep(w.Key, nil)
			_ = e.canRecord() // once it could not, this may show that it can
		}
		if settled {
			e.base.Settled(w.Key)
			e.base.Arrived(w.Key)
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

// look plans one path from what all sides say of it now, and does it.
func (e *Engine) look(ctx context.Context, w dirty.Work) (result, error) {
	if !e.filter.Match(w.Key) {
		return result{}, nil
	}
	if err := e.mayLook(w.Key); err != nil {
		return result{}, err
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
	e.state.ok()
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
		if err := e.canRecord(); err != nil {
			return result{}, err
		}
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
	if err := e.mayAct(e.refused.deletions, item.Key); err != nil {
		return result{}, err
	}
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
	if w.MayDelete {
		if err := e.canRecord(); err != nil {
			return result{}, err
		}
	}
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
