package syncer

import (
	"context"
	"errors"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// aroundMax is how many paths are looked at to find one that a folder is
// implied by. One that gets an object in vain has one too many.
const aroundMax = 100

// keepAround gives an object to the folder in which key was, before key goes, if
// nothing that stays in the bucket implies it. It may be empty by now, or have
// nothing in it but what is uploaded later: because it is new, or because a file
// takes the name of a folder, or the reverse, and has to wait for just this
// deletion. A node that is lost in between must not lose the folder. But where the
// folder alone cannot be uploaded, in a full store say, the deletion does not
// wait for it: it may be what makes room.
func (e *Engine) keepAround(ctx context.Context, key string) error {
	folder, l, marked, err := e.around(key)
	if err != nil || folder == "" || !e.filter.Match(folder) {
		return nil // the deletion is not about what cannot be read there
	}
	if b, err := e.base.Get(folder); b != nil || err != nil {
		return err
	}
	if !marked {
		if implied, err := e.implied(folder); implied || err != nil {
			return err
		}
	}
	r, err := e.upload(ctx, dirty.Work{Key: folder}, plan.Item{Key: folder, Local: &l})
	// Whatever came of it, or comes to be of the folder meanwhile.
	defer e.dirty.TouchFor(folder, key)
	switch {
	case errors.Is(err, store.ErrUnreachable), errors.Is(err, store.ErrNoBucket), ctx.Err() != nil:
		return err
	case err != nil: // it is looked at by itself
		return nil
	}
	if err := e.record(folder, r.put); err != nil {
		return err
	}
	e.base.Settled(folder)
	return nil
}

// around is the folder that is left in the volume of those that key was in.
func (e *Engine) around(key string) (folder string, l entry.Local, marked bool, err error) {
	for folder = parentKey(key); folder != ""; folder = parentKey(folder) {
		l, marked, ok, err := e.tree.Lookup(folder)
		if err != nil || ok && l.Kind == entry.Dir {
			return folder, l, marked, err
		}
	}
	return "", l, false, nil
}

// implied reports whether the bucket has something of the folder that the
// volume still has as well.
func (e *Engine) implied(folder string) (bool, error) {
	n := 0
	for b, err := range e.base.Range(folder) {
		if err != nil {
			return false, err
		}
		l, _, ok, err := e.tree.Lookup(b.Key)
		if err != nil || ok && entry.IsDir(b.Key) == isFolder(l) {
			return err == nil, err
		}
		if n++; n == aroundMax {
			break
		}
	}
	return false, nil
}
