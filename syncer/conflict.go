package syncer

import (
	"context"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/attrs"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/metrics"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// Where both sides changed, the state that loses the path goes beside it, and
// it is in the bucket there, acknowledged, before the path is touched on either
// side. So whenever a process or a node ends, both states are in the bucket, or
// the path is as it was and is looked at again: at worst there is one copy too
// many. No filter is asked: it says which paths take part, not which states may
// get lost.

// keepBoth settles a path of which the volume has one state and the bucket, as
// obj, another.
func (e *Engine) keepBoth(ctx context.Context, item plan.Item, obj store.Object, winner plan.Side) (result, error) {
	push := e.currentRules().Push
	if !push && !e.readOnly() && !e.isFrozen() && winner == plan.LocalSide {
		return result{}, nil // a restore writes nothing to the bucket: the object keeps its path until a sync
	}
	e.metrics.Conflicts()
	aside := plan.ConflictPath(item.Key, e.writer, time.Now(), store.MaxKey-len(e.cfg.Prefix))
	e.log.Warn("changed on both sides; both are kept", "path", item.Key, "keeps the path", winner.String(), "other", aside)
	keep := e.keepRemote
	if winner == plan.RemoteSide {
		keep = e.keepLocal
	}
	if err := keep(ctx, item, aside, push); err != nil {
		return result{}, err
	}
	if winner == plan.LocalSide {
		return e.ahead(item.Key, obj), nil
	}
	item.Local = nil
	return e.download(ctx, item)
}

// keepRemote copies the object to aside: in the bucket, where push allows that,
// and then in the volume.
func (e *Engine) keepRemote(ctx context.Context, item plan.Item, aside string, push bool) error {
	if !push {
		_, _, err := e.fetch(ctx, item, aside, nil)
		return err
	}
	a, err := e.receive(ctx, item)
	if err != nil {
		return err
	}
	defer a.Discard()
	u := store.Upload{Body: a, Size: item.Remote.Size, Metadata: attrs.Encode(a.kind, a.attrs)}
	return e.setAside(ctx, u, aside, func(etag string) error {
		l, err := e.place(a, aside, nil)
		if err != nil {
			return err
		}
		l.Key = aside
		return e.record(aside, agreed(l, etag))
	})
}

// keepLocal moves what the volume has to aside, once the bucket has it there,
// where push allows that.
func (e *Engine) keepLocal(ctx context.Context, item plan.Item, aside string, push bool) error {
	if !push {
		_, err := e.tree.MoveAside(item.Key, aside)
		e.dirty.TouchFor(aside, item.Key)
		return err
	}
	u, done, err := e.outgoing(ctx, item)
	if err != nil {
		return err
	}
	defer done()
	return e.setAside(ctx, u, aside, func(etag string) error {
		l, err := e.tree.MoveAside(item.Key, aside)
		if err != nil {
			return err
		}
		l.Key = aside
		if !onlyMoved(*item.Local, l) { // the app was faster
			e.dirty.TouchFor(aside, item.Key)
			return nil
		}
		return e.record(aside, agreed(l, etag))
	})
}

// setAside uploads u to aside, which is new, and then has the volume follow. If
// that fails the path is as it was, and will be tried again under another name:
// the object goes, lest each attempt leave one.
//
// Unlike other uploads it is not written down beforehand: one whose answer got
// lost is found by a listing, as the copy too many that it is.
func (e *Engine) setAside(ctx context.Context, u store.Upload, aside string, follow func(etag string) error) error {
	u.Key, u.IfAbsent = e.cfg.Prefix+aside, true
	if err := e.readTwice(ctx, &u); err != nil {
		return err
	}
	over := e.inParts(&u)
	obj, err := e.send(ctx, u)
	over()
	if err != nil {
		e.metrics.Uploads(metrics.Failed)
		return err
	}
	e.metrics.Uploads(metrics.OK)
	e.metrics.UploadBytes(u.Size)
	e.state.transferred(u.Size)
	if err = follow(obj.ETag); err == nil {
		return nil
	}
	if err := e.store.Delete(ctx, u.Key, obj.ETag); err != nil {
		e.log.Warn("could not take back a conflict copy: it is one too many", "path", aside, "error", err)
	}
	return err
}

// onlyMoved reports whether l is what was at another path. A rename alters the
// ctime; a change would show in the mtime as well, since what was uploaded had
// rested for a tick.
func onlyMoved(was, l entry.Local) bool {
	l.CTime = was.CTime
	return l.Fingerprint == was.Fingerprint && l.Attrs == was.Attrs && l.Target == was.Target
}
