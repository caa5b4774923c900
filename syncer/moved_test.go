package syncer

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// delayed tells of each upload to the prefix that has arrived, and then keeps
// its answer back until it may go on.
type delayed struct {
	store.Store
	prefix         string
	arrived, mayGo chan struct{}
}

func (s *delayed) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	obj, err := s.Store.Upload(ctx, u)
	if strings.HasPrefix(u.Key, s.prefix) {
		s.arrived <- struct{}{}
		<-s.mayGo
	}
	return obj, err
}

// TestMovedWhileUploading: a folder is renamed, or removed, while what is in
// it is on its way, and nothing in it was in the base before. A flush that
// begins then ends with nothing left under the old name.
func TestMovedWhileUploading(t *testing.T) {
	server := testenv.MinIO(t)
	for name, c := range map[string]struct {
		in   string // what there is in the folder: "" for nothing
		move func(n *node) error
		want []string
	}{
		"file, folder renamed":          {"a", func(n *node) error { return os.Rename(n.path("d"), n.path("e")) }, []string{"e/a", "later", "stays"}},
		"file deep in, folder renamed":  {"x/y/a", func(n *node) error { return os.Rename(n.path("d"), n.path("e")) }, []string{"e/x/y/a", "later", "stays"}},
		"file, folder removed":          {"a", func(n *node) error { return os.RemoveAll(n.path("d")) }, []string{"later", "stays"}},
		"empty folder in it, renamed":   {"x/", func(n *node) error { return os.Rename(n.path("d"), n.path("e")) }, []string{"e/x/", "later", "stays"}},
		"the empty folder itself, gone": {"", func(n *node) error { return os.Remove(n.path("d")) }, []string{"later", "stays"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newRig(t, server).node(t)
			d := &delayed{prefix: "app/d/", arrived: make(chan struct{}, 1), mayGo: make(chan struct{})}
			n.wrap = func(real store.Store) store.Store {
				d.Store = real
				return d
			}
			n.start()
			n.write("stays", "1")
			n.flush()
			if strings.HasSuffix(c.in, "/") || c.in == "" {
				n.do(os.MkdirAll(n.path("d/"+c.in), 0o755))
			} else {
				n.write("d/"+c.in, "on its way")
			}
			<-d.arrived
			n.do(c.move(n))
			// What the folder's own events lead to comes before the end of the
			// upload: they are heard before those of a later file.
			n.write("later", "2")
			n.await("heard", func() bool {
				b, err := n.engine.base.Get("later")
				n.do(err)
				return b != nil
			})
			// This is a flush, with the end of the upload after its scan.
			n.do(n.engine.scanNow(t.Context()))
			mark := n.engine.dirty.Mark()
			close(d.mayGo)
			n.await("flushed", func() bool { return !n.engine.dirty.Left(mark) })
			var have []string
			for obj, err := range d.List(t.Context(), "app/") {
				n.do(err)
				if key := strings.TrimPrefix(obj.Key, "app/"); !reserved(key) {
					have = append(have, key)
				}
			}
			if !slices.Equal(have, c.want) {
				t.Errorf("the bucket has %q, want %q", have, c.want)
			}
		})
	}
}
