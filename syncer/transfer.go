package syncer

import (
	"bytes"
	"context"
	"crypto/md5" // ETags of most objects are MD5s; it is compared, not trusted
	"encoding/hex"
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

// maxLink is the longest target that Linux takes (PATH_MAX).
const maxLink = 4096

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
	if item.Remote == nil {
		u.IfAbsent = true
	} else {
		u.IfMatch = item.Remote.ETag
	}
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

// download brings the object to its path, if the volume still has what item says.
func (e *Engine) download(ctx context.Context, item plan.Item) (result, error) {
	if err := e.mayAct(item.Key); err != nil {
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

// resolve settles a path that changed on both sides. Equal content is
// adopted; otherwise both are kept, one of them beside the path.
func (e *Engine) resolve(ctx context.Context, item plan.Item) (result, error) {
	if err := e.mayAct(item.Key); err != nil {
		return result{}, err
	}
	obj, err := e.store.Stat(ctx, e.cfg.Prefix+item.Key)
	if err != nil {
		return result{}, err
	}
	if obj.ETag != item.Remote.ETag {
		return result{}, fmt.Errorf("compare %s: %w", item.Key, store.ErrPrecondition)
	}
	item.Remote.Size = obj.Size
	kind, a := e.decode(obj)
	if item.Local.Kind == entry.Dir {
		if item.Local.Attrs.SameDir(a) {
			return result{put: agreed(*item.Local, obj.ETag)}, nil
		}
		return e.download(ctx, item) // a folder has nothing but attributes to lose
	}
	equal, err := e.equal(ctx, item, kind, obj)
	if err != nil {
		return result{}, err
	}
	if equal {
		return e.adopt(ctx, item, obj, a)
	}

	return e.keepBoth(ctx, item, obj, plan.Winner(item.Local.MTime, a.MTime))
}

// ahead is the result where the volume's state is to replace the object. What is
// left is an ordinary upload.
func (e *Engine) ahead(key string, obj store.Object) result {
	e.dirty.TouchFor(key, key)
	return result{put: behind(key, obj.ETag)}
}

// behind is a base by which the volume had been at the object's state and was
// changed then.
func behind(key, etag string) *entry.Base {
	return &entry.Base{Key: key, Local: entry.Fingerprint{Kind: entry.File}, ETag: etag}
}

// adopt agrees on a content that both sides have. If the object tells other
// attributes than the volume, the later change counts, and the volume's where
// the times do not say which that is.
func (e *Engine) adopt(ctx context.Context, item plan.Item, obj store.Object, a entry.Attrs) (result, error) {
	e.synced(item.Key)
	l := item.Local.Attrs
	const perms = 0o777 // the others are not everybody's to set
	times := obj.Metadata["mtime"] != "" && l.MTime != a.MTime
	modes := obj.Metadata["mode"] != "" && (l.Perm^a.Perm)&perms != 0
	switch {
	case !times && !modes:
		return result{put: agreed(*item.Local, obj.ETag)}, nil
	case e.readOnly(), times && l.MTime.Before(a.MTime):
		return e.download(ctx, item)
	}
	return e.ahead(item.Key, obj), nil
}

// equal compares contents, cheaply where the ETag is an MD5.
func (e *Engine) equal(ctx context.Context, item plan.Item, kind entry.Kind, obj store.Object) (bool, error) {
	if kind != item.Local.Kind {
		return false, nil
	}
	if kind == entry.Symlink {
		target, _, err := e.store.Read(ctx, obj.Key)
		return err == nil && string(target) == item.Local.Target, err
	}
	if obj.Size != item.Local.Size {
		return false, nil
	}
	if obj.Size == 0 {
		return true, nil
	}
	f, err := e.openUnchanged(ctx, item)
	if err != nil {
		return false, err
	}
	defer f.Close()
	sum := md5.New()
	if _, err := io.Copy(io.MultiWriter(sum, &e.odometer), io.NewSectionReader(f, 0, obj.Size)); err != nil {
		return false, fmt.Errorf("read %s: %w", item.Key, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) == obj.ETag {
		return true, unchanged(f, item)
	}
	same, err := e.sameBytes(ctx, f, obj)
	return same, errors.Join(err, unchanged(f, item))
}
