package syncer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// Difference is a path at which volume and bucket do not agree.
type Difference struct {
	Path string `json:"path"`
	What string `json:"what"`
	// Damaged: the bucket's object is not what was written to it.
	Damaged bool `json:"damaged,omitempty"`
}

// Verify compares volume and bucket by content, whatever the base says, and
// changes neither, but for a note where an object is damaged. Every object is
// read to its end, also where the volume has nothing to compare it with. An
// error means that the comparison is not complete.
func (e *Engine) Verify(ctx context.Context) ([]Difference, error) {
	if err := e.store.CheckBucket(ctx); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	var mu sync.Mutex
	var found []Difference
	workers, working := errgroup.WithContext(ctx)
	workers.SetLimit(e.cfg.Concurrency)
	none := func(func(entry.Base, error) bool) {}
	for item, err := range plan.Merge(e.tree.Scan(working, ""), e.listRemote(working, ""), none) {
		if err != nil {
			workers.Go(func() error { return err })
			break
		}
		if !e.filter.Match(item.Key) {
			continue
		}
		workers.Go(func() error {
			d, err := e.compare(working, item)
			if err != nil {
				return fmt.Errorf("%s: %w", item.Key, err)
			}
			if d.What != "" {
				mu.Lock()
				defer mu.Unlock()
				found = append(found, d)
			}
			return nil
		})
	}
	err := workers.Wait()
	slices.SortFunc(found, func(a, b Difference) int { return cmp.Compare(a.Path, b.Path) })
	if err != nil {
		return found, fmt.Errorf("verify: %w", err)
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

// compare says how a path differs, if it does. What is wrong with one path is a
// difference, too; an error concerns them all.
func (e *Engine) compare(ctx context.Context, item plan.Item) (d Difference, err error) {
	what, err := e.difference(ctx, item)
	switch {
	case err == nil:
	case ctx.Err() != nil, storeWide(err):
		return d, err
	case errors.Is(err, errVanished):
		what, d.Damaged = "the object is damaged: "+errVanished.Error(), true
	case errors.Is(err, store.ErrDamaged):
		what, d.Damaged = "the object is damaged: it cannot be read, or its checksum does not match", true
	case errors.Is(err, ErrTorn), errors.Is(err, store.ErrPrecondition), errors.Is(err, store.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		what = "changes while it is compared"
	default:
		what = "cannot be compared: " + err.Error()
	}
	d.Path, d.What = legible(item.Key), legible(what)
	return d, nil
}

func (e *Engine) difference(ctx context.Context, item plan.Item) (what string, err error) {
	l := item.Local
	switch {
	case l != nil && (l.Kind == entry.Special || l.Kind == entry.Opaque):
		return "cannot be synced: " + l.Reason, nil
	case item.Remote == nil:
		return "only in the volume", nil
	case entry.IsDir(item.Key):
		return e.folderDiffers(ctx, item)
	}
	content := &comparison{}
	var unreadable error // the object is looked at all the same
	switch {
	case l == nil:
	case l.Kind == entry.Symlink:
		content.with = strings.NewReader(l.Target)
	default:
		var f *tree.File
		if f, unreadable = e.openUnchanged(ctx, item); unreadable == nil {
			content.with = f
			defer func() { err = errors.Join(err, unchanged(f, item), f.Close()) }()
		}
	}
	obj, err := e.load(ctx, item.Key, item.Remote.ETag, item.Remote.Size, content)
	switch {
	case err != nil:
		return "", err
	case l == nil:
		return "only in the bucket", nil
	case unreadable != nil:
		return "", unreadable
	}
	kind, _ := e.decode(obj)
	switch {
	case kind != l.Kind:
		return fmt.Sprintf("a %s in the volume, a %s in the bucket", l.Kind, kind), nil
	case obj.Size != l.Size, content.differs.Load():
		return "content differs", nil
	}
	return e.attrsDiffer(*l, obj), nil
}

func (e *Engine) folderDiffers(ctx context.Context, item plan.Item) (string, error) {
	if item.Local == nil {
		// A folder that has files by now needs no object; it is as good as one.
		if d, _, ok, err := e.tree.Lookup(entry.Path(item.Key)); err != nil || ok && d.Kind == entry.Dir {
			return "", err
		}
		return "only in the bucket", nil
	}
	obj, err := e.store.Stat(ctx, e.cfg.Prefix+item.Key)
	if err != nil {
		return "", err
	}
	return e.attrsDiffer(*item.Local, obj), nil
}

func (e *Engine) attrsDiffer(l entry.Local, obj store.Object) string {
	kind, a := e.decode(obj)
	if obj.Metadata["mode"] != "" && a.Perm != l.Attrs.Perm {
		return fmt.Sprintf("mode differs: %04o in the volume, %04o in the bucket", l.Attrs.Perm, a.Perm)
	}
	if kind == entry.File && obj.Metadata["mtime"] != "" && a.MTime != l.Attrs.MTime {
		return "modification time differs"
	}
	return ""
}
