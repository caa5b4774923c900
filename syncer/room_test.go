package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// rationed is a real bucket with a quota that is exact. (MinIO counts what is in
// a bucket only now and then.)
type rationed struct {
	store.Store
	mu    sync.Mutex
	left  int64
	sizes map[string]int64
}

func (n *node) ration(bytes int64) {
	n.wrap = func(real store.Store) store.Store {
		return &rationed{Store: real, left: bytes, sizes: map[string]int64{}}
	}
}

func (s *rationed) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if strings.Contains(u.Key, contract.Reserved) {
		return s.Store.Upload(ctx, u)
	}
	s.mu.Lock()
	more := u.Size - s.sizes[u.Key]
	if more > s.left {
		s.mu.Unlock()
		return store.Object{}, fmt.Errorf("upload %s: %w", u.Key, store.ErrFull)
	}
	s.left -= more
	s.sizes[u.Key] = u.Size
	s.mu.Unlock()
	return s.Store.Upload(ctx, u)
}

func (s *rationed) Delete(ctx context.Context, key, etag string) error {
	err := s.Store.Delete(ctx, key, etag)
	if err == nil {
		s.mu.Lock()
		s.left += s.sizes[key]
		delete(s.sizes, key)
		s.mu.Unlock()
	}
	return err
}

// TestDeletionsMakeRoom: the quota is reached, and what has to go before there
// is room is among what waits.
func TestDeletionsMakeRoom(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	n.ration(10_000)
	n.start()
	for i := range 4 {
		n.write(fmt.Sprint("old/", i), strings.Repeat("o", 2000))
	}
	n.write("stays", "x")
	n.flush()
	for i := range 3 {
		n.write(fmt.Sprint("new/", i), strings.Repeat("n", 3000))
	}
	n.await("full", func() bool { return condition(n) == status.StoreFull })
	n.remove("old")
	n.flush()
	n.await("well again", func() bool { return condition(n) == status.OK })
	n.verify()
	n.mustStop()
}

// TestVolumeMakesRoom: a volume that is full of what the bucket has no more gets
// what is there instead, while sync runs and in a restore.
func TestVolumeMakesRoom(t *testing.T) {
	if !rootOnly(t) {
		return
	}
	server := testenv.MinIO(t)
	const mb = 1 << 20
	for name, follow := range map[string]func(b *node, change func()){
		"sync": func(b *node, change func()) {
			b.start()
			change()
		},
		"restore": func(b *node, change func()) {
			change()
			b.restore()
			b.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			a, b := r.node(t), r.node(t, func(c *Config) { c.Mode = contract.ModeReadOnly })
			mountSmall(t, b.dir, "8m")
			b.attendEvery = 200 * time.Millisecond
			a.start()
			a.write("small", "x")
			a.write("old", strings.Repeat("o", 6*mb))
			a.write("renamed/before", strings.Repeat("r", mb))
			a.flush()
			b.restore()
			follow(b, func() {
				a.remove("old")
				a.do(os.Rename(a.path("renamed/before"), a.path("after")))
				a.write("a-new", strings.Repeat("n", 5*mb))
				a.flush()
			})
			b.await("there", func() bool { return slices.Equal(b.files(), []string{"a-new", "after", "small"}) })
			b.await("well", func() bool { return condition(b) == status.OK && b.engine.Status().Pending == 0 })
			a.mustStop()
			b.mustStop()
			b.equals(a)
		})
	}
}

// TestRestoreStuckForRoom: so much does not fit into the volume that the listing
// does not get on, and what would make room waits for its end. The restore says
// that the volume is too small.
func TestRestoreStuckForRoom(t *testing.T) {
	if !rootOnly(t) {
		return
	}
	t.Parallel()
	r := newRig(t, testenv.MinIO(t))
	a, b := r.node(t), r.node(t)
	mountSmall(t, b.dir, "4m")
	a.start()
	a.write("a-old", "x")
	a.write("small", "x")
	a.flush()
	b.restore()
	a.remove("a-old")
	for i := range 60 {
		a.write(fmt.Sprintf("large/%02d", i), strings.Repeat("l", 1<<20))
	}
	a.flush()
	a.mustStop()
	e := b.open()
	e.dirty = dirty.New(2, dirty.RestlessAfter)
	ctx, cancel := context.WithTimeout(t.Context(), 2*testPatience)
	defer cancel()
	if err := e.Restore(ctx); !errors.Is(err, tree.ErrFull) {
		t.Errorf("%v", err)
	}
}
