package syncer

import (
	"context"
	"crypto/md5" // ETags of most objects are MD5s; it is compared, not trusted
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// resolve settles a path that changed on both sides. Equal content is
// adopted; otherwise both are kept, one of them beside the path.
func (e *Engine) resolve(ctx context.Context, item plan.Item) (result, error) {
	if err := e.mayAct(e.refused.downloads, item.Key); err != nil {
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
