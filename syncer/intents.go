package syncer

import (
	"context"
	"errors"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// underWay is how long an upload whose answer got lost, perhaps with the
// process that sent it, may take to arrive at the store nevertheless.
const underWay = 5 * time.Second

// recollection is what there is to know of uploads of our own whose answer
// never came. The zero value: there are none.
type recollection struct {
	asked  bool          // the store was asked
	remote *entry.Remote // and this is what it has
	landed *entry.Base   // which is what such an upload brought there
	// underWay: one may still arrive.
	underWay bool
}

// recall looks whether uploads of our own have happened of which nobody knows.
// Only their size and attributes are compared, which include the nanosecond of
// the last change: that another writer brought a different content with the
// same ones to the same key, in that moment, is no case to reckon with.
func (e *Engine) recall(ctx context.Context, key string) (recollection, error) {
	intents := e.base.Intents(key)
	if len(intents) == 0 {
		return recollection{}, nil
	}
	own := recollection{asked: true}
	for _, i := range intents {
		own.underWay = own.underWay || time.Since(i.At) < underWay
	}
	obj, err := e.store.Stat(ctx, e.cfg.Prefix+key)
	if errors.Is(err, store.ErrNotFound) {
		return own, nil
	}
	if errors.Is(err, store.ErrKeyRejected) { // it never arrives
		own.underWay = false
		return own, nil
	}
	if err != nil {
		return own, err
	}
	r := e.remote(obj)
	own.remote = &r
	kind, a := e.decode(obj)
	for _, i := range intents {
		if l := i.Entry.Local; l.Kind == kind && l.Size == obj.Size && i.Entry.Attrs == a {
			// Where the answer was still being checked, no listing may show it.
			if err := e.store.CheckListed(ctx, obj.Key, obj.ETag); err != nil {
				return own, err
			}
			landed := i.Entry
			landed.ETag = obj.ETag
			own.landed = &landed
			e.log.Debug("an upload whose answer got lost has happened", "path", key)
		}
	}
	return own, nil
}

// remember sees to it that what landed gets into the base, if what was done
// about the path has not replaced it.
func (o recollection) remember(r result) result {
	if o.landed != nil && r.put == nil && !r.forget && (r.outcome == dirty.Settled || r.outcome == dirty.Hold) {
		r.put = o.landed
	}
	return r
}

// recallAll makes every path dirty of which a predecessor may have begun an
// upload without learning what came of it.
func (e *Engine) recallAll(ctx context.Context) error {
	for _, key := range e.base.IntentKeys() {
		if err := e.dirty.Found(ctx, key, nil); err != nil {
			return err
		}
	}
	return nil
}
