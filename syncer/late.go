package syncer

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// A folder that its owner may not read, enter or write into has to be filled
// before it gets that mode, where a restore is not root's. Its key comes before
// those of what is in it, so it is made with the owner's rights first and looked
// at again at the end.

// ownerAll are the rights that a restore needs in the folders that it fills.
const ownerAll = 0o700

// errLater: the folder is there; its own mode comes when all is in it.
var errLater = errors.New("its mode comes later")

// postpone reports whether the folder is to be looked at again at the end of a
// restore, which is under way and not at its end yet.
func (e *Engine) postpone(folder entry.Remote) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.abortWith == nil || e.filled {
		return false
	}
	e.late = append(e.late, folder)
	return true
}

// finishFolders looks again at what was postponed, the deepest first: one that
// cannot be entered any more hides those in it.
func (e *Engine) finishFolders(ctx context.Context) error {
	e.mu.Lock()
	e.filled = true
	late := e.late
	e.late = nil
	e.mu.Unlock()
	slices.SortFunc(late, func(a, b entry.Remote) int { return cmp.Compare(b.Key, a.Key) })
	for _, folder := range late {
		if err := e.dirty.Found(ctx, folder.Key, &dirty.Remote{Object: &folder}); err != nil {
			return err
		}
		if err := e.dirty.Wait(ctx, e.dirty.Mark(), true); err != nil {
			return err
		}
	}
	return nil
}
