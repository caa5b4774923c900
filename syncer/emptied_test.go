package syncer

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// foldersStay fails the test when the last object of a folder is deleted that
// exists in the volume and has no object of its own.
type foldersStay struct {
	store.Store
	n *node
}

// Upload takes longer than it takes to decide about deletions.
func (s *foldersStay) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if strings.HasSuffix(u.Key, "/") {
		time.Sleep(500 * time.Millisecond)
	}
	return s.Store.Upload(ctx, u)
}

func (s *foldersStay) Delete(ctx context.Context, key, etag string) error {
	path := strings.TrimPrefix(key, s.n.config.Prefix)
	for i := range len(path) - 1 {
		if path[i] != '/' || reserved(path) {
			continue
		}
		folder, left := path[:i+1], 0
		if _, err := os.Stat(s.n.path(folder)); err != nil {
			continue
		}
		for obj, err := range s.List(ctx, s.n.config.Prefix+folder) {
			if err != nil {
				s.n.t.Error(err)
			}
			if obj.Key != key {
				left++
			}
		}
		if left == 0 {
			s.n.t.Errorf("%q is deleted, and with it all that the bucket has of %q", key, folder)
		}
	}
	return s.Store.Delete(ctx, key, etag)
}

// TestEmptiedFolder: a folder that loses its last entry, by whatever means, is
// in the bucket at every moment: a node that is lost in between has it still.
func TestEmptiedFolder(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	n.wrap = func(real store.Store) store.Store { return &foldersStay{real, n} }
	for _, p := range []string{"removed/x", "moved/x", "deep/er/x", "two/x", "two/y", "stays"} {
		n.write(p, p)
	}
	n.do(os.MkdirAll(n.path("nested/empty"), 0o755))
	n.start() // now, so that no folder is seen that is empty for a moment
	n.flush()
	n.remove("removed/x")
	n.do(os.Rename(n.path("moved/x"), n.path("x")))
	n.remove("deep/er")
	n.remove("two/x")
	n.remove("two/y")
	n.remove("nested/empty")
	// By events alone: a scan would find the empty folders at once.
	n.await("empty", func() bool {
		for _, key := range []string{"removed/x", "moved/x", "deep/er/x", "two/x", "two/y", "nested/empty/"} {
			if b, err := n.engine.base.Get(key); b != nil || err != nil {
				return false
			}
		}
		return true
	})
	n.flush()
	n.verify()
	n.mustStop()
	other := n.rig.node(t)
	other.restore()
	other.equals(n)
	if _, err := os.Stat(other.path("deep/er")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a removed folder came back")
	}
}
