package syncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/attrs"
	"github.com/minio-sidecar/minio-sidecar/syncer/base"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/metrics"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// tick is longer than the grain of the kernel's file times: a file that was
// changed less than a tick ago could change again without its times showing it.
const tick = 20 * time.Millisecond

// upload publishes the local state, if the object is still what item says.
func (e *Engine) upload(ctx context.Context, w dirty.Work, item plan.Item) (result, error) {
	if err := e.hasRoom(item.Key); err != nil {
		return result{}, err
	}
	if w.Restless && item.Local.Kind == entry.File {
		if r, grew, err := e.uploadGrowing(ctx, item); grew || err != nil {
			return r, err
		}
	}
	u, done, err := e.outgoing(ctx, item)
	if err != nil {
		return result{}, err
	}
	defer done()
	u.Key = e.cfg.Prefix + item.Key
	u.Condition = still(item.Remote)
	obj, err := e.put(ctx, u, *item.Local)
	switch {
	case errors.Is(err, store.ErrPrecondition), errors.Is(err, ErrTorn):
		e.metrics.Uploads(metrics.Changed)
		return result{}, err
	case err != nil:
		e.metrics.Uploads(metrics.Failed)
		return result{}, err
	}
	e.metrics.Uploads(metrics.OK)
	e.metrics.UploadBytes(u.Size)
	e.state.transferred(u.Size)
	e.growing.forget(item.Key)
	e.synced(item.Key)
	return result{outcome: dirty.Published, put: agreed(*item.Local, obj.ETag)}, nil
}

// still is the condition that the object is what the plan was made for.
func still(remote *entry.Remote) store.Condition {
	if remote == nil {
		return store.Condition{IfAbsent: true}
	}
	return store.Condition{IfMatch: remote.ETag}
}

// outgoing is the local state as an upload that has no key yet. done is to be
// called when it is over.
func (e *Engine) outgoing(ctx context.Context, item plan.Item) (u store.Upload, done func(), err error) {
	u.Metadata = attrs.Encode(item.Local.Kind, item.Local.Attrs)
	switch item.Local.Kind {
	case entry.Dir:
		u.Body = bytes.NewReader(nil)
	case entry.Symlink:
		u.Body, u.Size = bytes.NewReader([]byte(item.Local.Target)), int64(len(item.Local.Target))
	default:
		f, err := e.openUnchanged(ctx, item)
		if err != nil {
			return u, nil, err
		}
		u.Body, u.Size = f, item.Local.Size
		u.Commit = func() error { return unchanged(f, item) }
		return u, func() { f.Close() }, nil
	}
	return u, func() {}, nil
}

// hasRoom refuses a file as long as the bucket has something of the folder
// that had its name, and what is in a folder, or its own object, as long as the
// bucket has a file of the folder's name. A store may have room for both, but a
// volume has not: after a crash a restore would have to choose. Worse, MinIO
// then lists the file alone, and what is in the folder appears when the file is
// deleted, however much later. Where deletions are not applied there is nothing
// to wait for.
func (e *Engine) hasRoom(key string) error {
	b, err := e.inTheWay(key)
	if err == nil && b != nil {
		err = fmt.Errorf("upload %s: %w", key, store.ErrKeyConflict)
	}
	return err
}

// inTheWay is something that the bucket has, and that has to go before it has
// room for key; nil if there is nothing.
func (e *Engine) inTheWay(key string) (*entry.Base, error) {
	if !e.cfg.Delete {
		return nil, nil
	}
	for i := range len(key) {
		if key[i] != '/' {
			continue
		}
		if b, err := e.base.Get(key[:i]); b != nil || err != nil {
			return b, err
		}
	}
	if entry.IsDir(key) {
		return nil, nil
	}
	for b, err := range e.base.Range(key + "/") {
		return &b, err
	}
	return nil, nil
}

// readTwice reads the file once before its upload, where its times do not show
// all of its changes: what reads the same twice is a state that it had in
// between. Where it does not, [Engine.send] ends in ErrTorn.
func (e *Engine) readTwice(ctx context.Context, u *store.Upload) error {
	f, ok := u.Body.(*tree.File)
	if !ok || u.CRC64NVME != nil || !e.tree.Unstamped() {
		return nil
	}
	sum, _, err := sums(ctx, f, u.Size, 0)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = ErrTorn
	}
	if err != nil {
		return fmt.Errorf("read the file for %s: %w", u.Key, err)
	}
	u.CRC64NVME = &sum
	return nil
}

// put uploads the state l, and writes down beforehand that it is about to.
func (e *Engine) put(ctx context.Context, u store.Upload, l entry.Local) (store.Object, error) {
	if err := e.readTwice(ctx, &u); err != nil {
		return store.Object{}, err
	}
	var intent base.Intent
	check := u.Commit
	u.Commit = func() (err error) {
		intent = e.base.Begin(*agreed(l, ""))
		if check != nil {
			err = check()
		}
		if err != nil {
			e.base.Undone(intent)
		}
		return err
	}
	over := e.inParts(&u)
	obj, err := e.send(ctx, u)
	over()
	if errors.Is(err, store.ErrRefused) || errors.Is(err, store.ErrPrecondition) || errors.Is(err, store.ErrKeyRejected) {
		e.base.Undone(intent)
	}
	return obj, err
}

// send uploads, looking first where the store ignores conditions.
func (e *Engine) send(ctx context.Context, u store.Upload) (store.Object, error) {
	e.mu.Lock()
	lookFirst, unconditional := e.lookFirst, e.unconditional
	e.mu.Unlock()
	if lookFirst {
		if err := e.meets(ctx, u); err != nil {
			return store.Object{}, err
		}
		if unconditional {
			u.Condition = store.Condition{}
		}
	}
	obj, err := e.store.Upload(ctx, u)
	shorter := errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, store.ErrUnreachable)
	if shorter || errors.Is(err, store.ErrBodyChanged) {
		err = fmt.Errorf("%w: %w", ErrTorn, err)
	}
	return obj, err
}

// meets looks whether the object meets the condition of u now.
func (e *Engine) meets(ctx context.Context, u store.Upload) error {
	obj, err := e.store.Stat(ctx, u.Key)
	switch {
	case errors.Is(err, store.ErrNotFound) && u.IfMatch == "":
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	case err != nil, u.IfAbsent, u.IfMatch != obj.ETag:
		return fmt.Errorf("upload %s: %w", u.Key, store.ErrPrecondition)
	}
	return nil
}

// openUnchanged opens the file that item describes, if it is that still, once
// it has rested for a tick, so that whatever comes now gets other times. Only
// then is it settled: a store through a mapping that got in between, within the
// file's own tick, would leave the times as they are and the page writable, and
// what follows on that page would not show at all.
func (e *Engine) openUnchanged(ctx context.Context, item plan.Item) (*tree.File, error) {
	f, err := e.tree.OpenFile(item.Key)
	if err != nil {
		return nil, err
	}
	if age := time.Since(item.Local.CTime.Std()); age >= 0 && age < tick {
		if err := sleep(ctx, tick-age); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	if err := f.Settle(); err != nil {
		e.log.Debug("could not start write-back", "path", item.Key, "error", err)
	}
	if err := unchanged(f, item); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unchanged is the second look: what was read is a state that the file had,
// because nothing has touched it since before the first byte.
func unchanged(f *tree.File, item plan.Item) error {
	now, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", item.Key, err)
	}
	if now.Fingerprint != item.Local.Fingerprint {
		return fmt.Errorf("read %s: %w", item.Key, ErrTorn)
	}
	return nil
}

func agreed(l entry.Local, etag string) *entry.Base {
	return &entry.Base{Key: l.Key, Local: l.Fingerprint, Attrs: l.Attrs, ETag: etag}
}
