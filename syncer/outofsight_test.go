package syncer

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// TestLandedOutOfSight: an upload happens, and whether a listing shows it could
// not be found out. It does not count as done: MinIO hides what is in a folder
// that was a file before, where it keeps versions, so no restore would have it.
func TestLandedOutOfSight(t *testing.T) {
	server := testenv.MinIO(t)
	for name, killed := range map[string]bool{"asked again": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			r.bucket = server.NewBucket(t, true)
			proxy := r.between(t)
			n := r.node(t, func(c *Config) { c.FlushTimeout = 5 * time.Second })
			n.start()
			n.write("a", "a file")
			n.write("other", "stays")
			n.flush()
			n.remove("a")
			n.flush()

			var landed, refused atomic.Bool
			proxy.spoils(func(answer *http.Response) error {
				if q := answer.Request; q.Method == http.MethodPut && strings.HasSuffix(q.URL.Path, "/a/b") {
					landed.Store(answer.StatusCode == http.StatusOK)
				}
				return nil
			})
			proxy.answers(func(w http.ResponseWriter, q *http.Request) bool {
				asks := landed.Load() && q.URL.Query().Has("start-after")
				if !asks || !killed && refused.Swap(true) {
					return false
				}
				refused.Store(true)
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			})
			n.write("a/b", "the only copy")
			n.await("in doubt", refused.Load)
			if killed {
				n.killed()
				proxy.honest()
				n.start()
			}
			n.await("reported", func() bool { return n.unsyncable()["a/b"] != "" })
			if b, err := n.engine.base.Get("a/b"); b != nil || err != nil {
				t.Errorf("acknowledged: %v, %v", b, err)
			}
			if err := n.stop(); err == nil {
				t.Error("a sync ended well whose file no restore would bring")
			}
		})
	}
}

// fullWhole takes no upload at all until something was deleted.
type fullWhole struct {
	store.Store
	full    atomic.Bool
	deleted atomic.Int64
}

func (s *fullWhole) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if s.full.Load() && !strings.Contains(u.Key, contract.Reserved) {
		return store.Object{}, fmt.Errorf("upload %s: %w", u.Key, store.ErrFull)
	}
	return s.Store.Upload(ctx, u)
}

func (s *fullWhole) Delete(ctx context.Context, key, etag string) error {
	err := s.Store.Delete(ctx, key, etag)
	if err == nil && !strings.Contains(key, contract.Reserved) {
		s.full.Store(false)
		s.deleted.Add(1)
	}
	return err
}

// TestFullStoreIsEmptied: a folder is left that nothing in the bucket implies any
// more, and a store that is full does not take its object. What is deleted goes
// all the same, and makes room.
func TestFullStoreIsEmptied(t *testing.T) {
	server := testenv.MinIO(t)
	for name, c := range map[string]struct{ files, gone int }{
		"all in it": {4, 4}, "the oldest of many": {aroundMax + 60, aroundMax + 40},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newRig(t, server).node(t)
			f := &fullWhole{}
			n.wrap = func(real store.Store) store.Store { f.Store = real; return f }
			n.lay(2*c.gone + 20) // or so many deletions would be halted
			for i := range c.files {
				n.write(fmt.Sprintf("spool/%04d", i), "x")
			}
			n.start()
			n.flush()
			f.full.Store(true)
			for i := range c.gone {
				n.remove(fmt.Sprintf("spool/%04d", i))
			}
			n.await("room", func() bool { return f.deleted.Load() > 0 })
			n.flush()
			n.verify()
			n.mustStop()
		})
	}
}

// TestFolderAroundIsHidden: a folder that a filter hides gets no object because
// something in it is deleted.
func TestFolderAroundIsHidden(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t, func(c *Config) { c.Include = []string{"**/*.txt"} })
	n.write("d/a.txt", "shown")
	n.write("d/b.log", "hidden")
	n.write("keep.txt", "shown")
	n.start()
	n.flush()
	n.remove("d/a.txt")
	n.flush()
	if b, err := n.engine.base.Get("d/"); b != nil || err != nil {
		t.Errorf("the base has %v, %v", b, err)
	}
	n.mustStop()
}

// TestFolderAroundIsRefused: a store refuses the object of the folder that is
// left; what was in it is deleted.
func TestFolderAroundIsRefused(t *testing.T) {
	server := testenv.MinIO(t)
	for name, err := range map[string]error{"name": store.ErrKeyRejected, "conflict": store.ErrKeyConflict, "denied": store.ErrAccessDenied} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newRig(t, server).node(t, func(c *Config) { c.FlushTimeout = time.Second })
			p := n.pick(&picky{key: "app/d/", upload: err})
			p.off.Store(true)
			n.lay(30)
			n.write("d/x", "x")
			n.start()
			n.flush()
			p.off.Store(false)
			n.remove("d/x")
			n.await("deleted", func() bool { return !slices.Contains(n.rig.keys(t, "app/"), "d/x") })
			_ = n.stop() // the folder is not in the bucket
		})
	}
}

// undeletable is a store that refuses deletions.
type undeletable struct {
	store.Store
	refused atomic.Int64
}

func (s *undeletable) Delete(ctx context.Context, key, etag string) error {
	if strings.Contains(key, contract.Reserved) {
		return s.Store.Delete(ctx, key, etag)
	}
	s.refused.Add(1)
	return fmt.Errorf("delete %s: %w", key, store.ErrAccessDenied)
}

// TestWrittenAnewWhereDeletionsAreRefused: what was refused is to delete, not to
// upload a file of that name.
func TestWrittenAnewWhereDeletionsAreRefused(t *testing.T) {
	const files = 60
	n := newRig(t, testenv.MinIO(t)).node(t, func(c *Config) { c.FlushTimeout = time.Second })
	s := &undeletable{}
	n.wrap = func(real store.Store) store.Store { s.Store = real; return s }
	for i := range files {
		n.write(fmt.Sprint("tmp/", i), "x")
	}
	n.lay(2 * files) // or so many deletions would be halted
	n.start()
	n.flush()
	for i := range files - 1 {
		n.remove(fmt.Sprint("tmp/", i))
	}
	n.await("refused", func() bool { return s.refused.Load() >= files-1 })
	func() { // it is long until the next of them is tried
		r := n.engine.refused.deletions
		r.gate.mu.Lock()
		defer r.gate.mu.Unlock()
		r.gate.until, r.gate.failing = time.Now().Add(time.Hour), true
	}()
	n.write("tmp/30", "the only copy")
	n.await("uploaded", func() bool {
		body, _, err := s.Read(t.Context(), "app/tmp/30")
		return err == nil && string(body) == "the only copy"
	})
	if err := n.stop(); err == nil {
		t.Error("a sync ended well whose deletions were refused")
	}
}
