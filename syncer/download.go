package syncer

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/minio-sidecar/minio-sidecar/syncer/attrs"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/metrics"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// maxLink is the longest target that Linux takes (PATH_MAX).
const maxLink = 4096

// download brings the object to its path, if the volume still has what item says.
func (e *Engine) download(ctx context.Context, item plan.Item) (result, error) {
	if err := e.mayAct(e.refused.downloads, item.Key); err != nil {
		return result{}, err
	}
	var expect *entry.Fingerprint
	if item.Local != nil {
		expect = &item.Local.Fingerprint
	}
	l, obj, err := e.fetch(ctx, item, entry.Path(item.Key), expect)
	if err != nil {
		e.base.Arrived(item.Key)
	}
	switch {
	case errors.Is(err, errLater):
		return result{}, nil
	case errors.Is(err, store.ErrPrecondition), errors.Is(err, store.ErrNotFound), errors.Is(err, tree.ErrChanged):
		e.metrics.Downloads(metrics.Changed)
		return result{}, err
	case err != nil:
		e.metrics.Downloads(metrics.Failed)
		e.unreadable(item.Key)
		return result{}, err
	}
	e.metrics.Downloads(metrics.OK)
	e.state.transferred(obj.Size)
	e.synced(item.Key)
	l.Key = item.Key
	return result{put: agreed(l, obj.ETag)}, nil
}

// fetch writes the object's content and attributes to path.
func (e *Engine) fetch(ctx context.Context, item plan.Item, path string, expect *entry.Fingerprint) (entry.Local, store.Object, error) {
	if entry.IsDir(item.Key) {
		return e.fetchDir(ctx, *item.Remote, path)
	}
	a, err := e.receive(ctx, item)
	if err != nil {
		return entry.Local{}, store.Object{}, err
	}
	defer a.Discard()
	if path == entry.Path(item.Key) {
		a.Placing = e.arriving(item.Key, a.obj.ETag)
	}
	l, err := e.place(a, path, expect)
	return l, a.obj, err
}

// arrival is an object whose content is here, and in no path yet.
type arrival struct {
	*tree.Temp
	obj    store.Object
	kind   entry.Kind
	attrs  entry.Attrs
	target string // of a link
}

// receive downloads the object. Discard is to be called when it is not needed
// any more.
func (e *Engine) receive(ctx context.Context, item plan.Item) (_ *arrival, err error) {
	size := item.Remote.Size
	tmp, err := e.tree.Create(size)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Discard())
		}
	}()
	a := &arrival{Temp: tmp}
	a.obj, err = e.load(ctx, item.Key, item.Remote.ETag, size, tmp)
	if err != nil {
		return nil, err
	}
	a.kind, a.attrs = e.decode(a.obj)
	if a.kind != entry.Symlink {
		return a, nil
	}
	if size > maxLink {
		return nil, &unsyncableError{reason: "link: its target is longer than a path can be"}
	}
	target := make([]byte, size)
	if _, err := tmp.ReadAt(target, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(target) == 0 || bytes.IndexByte(target, 0) >= 0 {
		return nil, &unsyncableError{reason: "link: its target is not a path"}
	}
	a.target = string(target)
	return a, nil
}

// place gives what has arrived its path.
func (e *Engine) place(a *arrival, path string, expect *entry.Fingerprint) (entry.Local, error) {
	if a.kind == entry.Symlink {
		return e.tree.Symlink(a.target, path, a.attrs, expect, a.Placing)
	}
	return a.Commit(path, a.attrs, expect)
}

func (e *Engine) fetchDir(ctx context.Context, remote entry.Remote, path string) (entry.Local, store.Object, error) {
	obj, err := e.store.Stat(ctx, e.cfg.Prefix+remote.Key)
	if err != nil {
		return entry.Local{}, obj, err
	}
	if obj.Size > 0 {
		return entry.Local{}, obj, &unsyncableError{reason: "folder: its object has content, which a folder cannot have"}
	}
	_, a := e.decode(obj)
	e.arriving(remote.Key, obj.ETag)(entry.Local{Fingerprint: entry.Fingerprint{Kind: entry.Dir}, Attrs: a})
	if a.Perm&ownerAll != ownerAll && e.postpone(remote) {
		a.Perm |= ownerAll
		if _, err := e.tree.Mkdir(path, a); err != nil {
			return entry.Local{}, obj, err
		}
		return entry.Local{}, obj, errLater
	}
	l, err := e.tree.Mkdir(path, a)
	return l, obj, err
}

// decode reads the attributes of an object.
func (e *Engine) decode(obj store.Object) (entry.Kind, entry.Attrs) {
	d := e.defaults
	d.MTime = entry.TimeOf(obj.LastModified)
	d.Dir = entry.IsDir(obj.Key)
	return attrs.Decode(obj.Metadata, d)
}
