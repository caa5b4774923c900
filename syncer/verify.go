package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// Difference is a path at which volume and bucket do not agree.
type Difference struct {
	Path string `json:"path"`
	What string `json:"what"`
}

// Verify compares volume and bucket by content, whatever the base says, and
// changes neither.
func (e *Engine) Verify(ctx context.Context) ([]Difference, error) {
	if err := e.store.CheckBucket(ctx); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	none := func(func(entry.Base, error) bool) {}
	var found []Difference
	for item, err := range plan.Merge(e.tree.Scan(ctx, ""), e.listRemote(ctx, ""), none) {
		if err != nil {
			return found, fmt.Errorf("verify: %w", err)
		}
		if !e.filter.Match(item.Key) {
			continue
		}
		what, err := e.compare(ctx, item)
		if err != nil {
			return found, fmt.Errorf("verify %s: %w", item.Key, err)
		}
		if what != "" {
			found = append(found, Difference{Path: legible(item.Key), What: legible(what)})
		}
	}
	unsyncable, more := e.state.unsyncablePaths()
	for _, u := range unsyncable {
		found = append(found, Difference{Path: u.Path, What: "cannot be synced: " + u.Reason})
	}
	if more > 0 {
		found = append(found, Difference{Path: "…", What: fmt.Sprintf("%d more paths cannot be synced", more)})
	}
	return found, nil
}

func (e *Engine) compare(ctx context.Context, item plan.Item) (string, error) {
	switch l := item.Local; {
	case l != nil && (l.Kind == entry.Special || l.Kind == entry.Opaque):
		return "cannot be synced: " + l.Reason, nil
	case item.Remote == nil:
		return "only in the volume", nil
	case l == nil && entry.IsDir(item.Key):
		// A folder that has files by now needs no object; it is as good as one.
		if d, _, ok, err := e.tree.Lookup(entry.Path(item.Key)); err != nil || ok && d.Kind == entry.Dir {
			return "", err
		}
		return "only in the bucket", nil
	case l == nil:
		return "only in the bucket", nil
	}
	obj, err := e.store.Stat(ctx, e.cfg.Prefix+item.Key)
	if errors.Is(err, store.ErrNotFound) {
		return "only in the volume", nil
	}
	if err != nil {
		return "", err
	}
	kind, a := e.decode(obj)
	if kind != item.Local.Kind {
		return fmt.Sprintf("a %s in the volume, a %s in the bucket", item.Local.Kind, kind), nil
	}
	if kind != entry.Dir {
		equal, err := e.equal(ctx, item, kind, obj)
		switch {
		case errors.Is(err, ErrTorn):
			return "changes while it is compared", nil
		case errors.Is(err, store.ErrDamaged):
			return "the object is damaged: its checksum does not match", nil
		case err != nil:
			return "", err
		case !equal:
			return "content differs", nil
		}
	}
	if obj.Metadata["mode"] != "" && a.Perm != item.Local.Attrs.Perm {
		return fmt.Sprintf("mode differs: %04o in the volume, %04o in the bucket", item.Local.Attrs.Perm, a.Perm), nil
	}
	if kind == entry.File && obj.Metadata["mtime"] != "" && a.MTime != item.Local.Attrs.MTime {
		return "modification time differs", nil
	}
	return "", nil
}
