package syncer

import (
	"context"
	"errors"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// keepAround gives an object to the folder in which a file has the name that a
// folder had, or the reverse, before key goes, which is in the way of it. What
// has the name now is uploaded only afterwards, and until then there may be
// nothing in the bucket any more that the folder around is implied by.
func (e *Engine) keepAround(ctx context.Context, key string) error {
	folder, err := e.aroundSwap(key)
	if err != nil || folder == "" {
		return err
	}
	if b, err := e.base.Get(folder); b != nil || err != nil {
		return err
	}
	l, _, ok, err := e.tree.Lookup(folder)
	if err != nil || !ok || l.Kind != entry.Dir {
		return err
	}
	r, err := e.upload(ctx, dirty.Work{Key: folder}, plan.Item{Key: folder, Local: &l})
	if errors.Is(err, store.ErrPrecondition) {
		return nil // it has one
	}
	if err != nil {
		return err
	}
	return e.record(folder, r.put)
}

// aroundSwap is the folder that has something of another kind than the bucket
// in the place of key, or in that of a folder above it; "" if there is none.
func (e *Engine) aroundSwap(key string) (string, error) {
	isDir := entry.IsDir(key)
	for name := key; name != ""; name = parentKey(name) {
		l, _, ok, err := e.tree.Lookup(name)
		if err != nil {
			return "", err
		}
		if ok && isDir != isFolder(l) {
			return parentKey(name), nil
		}
		if ok {
			return "", nil
		}
		isDir = true
	}
	return "", nil
}
