package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// TestStoreStops: the server itself goes away, before a restore and under a sync.
func TestStoreStops(t *testing.T) {
	t.Parallel() // it waits for most of the time
	server := testenv.MinIO(t)
	r := newRig(t, server)
	a := r.node(t)
	a.start()
	a.write("f", "1")
	a.flush()

	server.Kill(t)
	a.write("g", "2")
	a.await("unreachable", func() bool { return condition(a) == status.Unreachable })
	if s := a.engine.Status(); s.Pending == 0 || s.OldestPendingSeconds == 0 || s.Message == "" {
		t.Errorf("status while the store is down: %+v", s)
	}
	b := r.node(t)
	e := b.open()
	restored := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	go func() { restored <- e.Restore(ctx) }()
	select {
	case err := <-restored:
		t.Fatalf("restore ended while the store was down: %v", err)
	case <-time.After(2 * time.Second):
	}
	if e.Status().Restored || e.Status().Condition != status.Unreachable {
		t.Errorf("status of a restore that waits: %+v", e.Status())
	}

	server.Start(t)
	if err := <-restored; err != nil {
		t.Fatal(err)
	}
	a.flush()
	a.await("well again", func() bool { return condition(a) == status.OK })
	c := r.node(t)
	c.restore()
	c.equals(a)
	a.mustStop()
}

// TestRestoreTimeout: a restore that may not wait for ever says why it did not go on.
func TestRestoreTimeout(t *testing.T) {
	t.Parallel() // it waits for most of the time
	server := testenv.MinIO(t)
	r := newRig(t, server)
	server.Stop(t)
	a := r.node(t, func(c *Config) { c.RestoreTimeout = 2 * time.Second })
	var stalled *StalledError
	if err := a.tryRestore(); !errors.As(err, &stalled) || !errors.Is(err, store.ErrUnreachable) || stalled.Last == "" {
		t.Errorf("restore from a store that is down: %v", err)
	}
}

// TestStoreStopsForGood: SIGTERM while the store is down ends in time, and says
// what is not in the bucket.
func TestStoreStopsForGood(t *testing.T) {
	t.Parallel() // it waits for most of the time
	server := testenv.MinIO(t)
	r := newRig(t, server)
	a := r.node(t, func(c *Config) { c.FlushTimeout = 2 * time.Second })
	a.start()
	a.write("f", "1")
	a.flush()
	server.Kill(t)
	a.write("g", "2")
	var unsynced *UnsyncedError
	if err := a.stop(); !errors.As(err, &unsynced) || unsynced.Count != 1 || unsynced.Paths[0].Path != "g" {
		t.Errorf("stop while the store is down: %v", err)
	}
	server.Start(t)
	a.start() // the container restarts and goes on from its base
	a.mustStop()
	b := r.node(t)
	b.restore()
	b.equals(a)
}

// TestBucketVanishes: a bucket that is deleted under a sync is a state of its
// own, never "everything was deleted".
func TestBucketVanishes(t *testing.T) {
	server := testenv.MinIO(t)
	r := newRig(t, server)
	a := r.node(t)
	a.start()
	for i := range 20 {
		a.write(fmt.Sprint(i), "x")
	}
	a.flush()
	client := server.Client(t)
	removeAll := func() {
		for obj := range client.Client.ListObjectsIter(t.Context(), r.bucket, listAll()) {
			a.do(client.RemoveObject(t.Context(), r.bucket, obj.Key, removeOptions()))
		}
		a.do(client.RemoveBucket(t.Context(), r.bucket))
	}
	removeAll()
	a.write("new", "y")
	a.await("no bucket", func() bool { return condition(a) == status.NoBucket })
	a.do(client.MakeBucket(t.Context(), r.bucket, makeOptions()))
	a.flush()
	if n := len(a.listing()); n != 21 {
		t.Errorf("%d files are left in the volume of 21", n)
	}
	a.mustStop()
	// A restart finds that it is not the bucket that the base speaks of, so
	// nothing can be taken for deleted; the volume's files fill it again.
	a.start()
	a.mustStop()
	if n := len(a.listing()); n != 21 {
		t.Errorf("%d files are left in the volume of 21", n)
	}
	b := r.node(t)
	b.restore()
	b.equals(a)
}

// TestPrefixEmptied: somebody empties the prefix under a running sync.
func TestPrefixEmptied(t *testing.T) {
	server := testenv.MinIO(t)
	r := newRig(t, server)
	a := r.node(t)
	a.start()
	for i := range 20 {
		a.write(fmt.Sprint(i), "x")
	}
	a.flush()
	client := server.Client(t)
	for obj := range client.Client.ListObjectsIter(t.Context(), r.bucket, listAll()) {
		a.do(client.RemoveObject(t.Context(), r.bucket, obj.Key, removeOptions()))
	}
	select {
	case err := <-a.ended:
		a.cancel = nil
		if !errors.Is(err, ErrBucketReplaced) {
			t.Fatalf("sync ended with %v", err)
		}
	case <-time.After(testPatience):
		t.Fatal("sync did not notice that the prefix was emptied")
	}
	a.start() // as Kubernetes would
	a.mustStop()
	if n := len(r.keys(t, "app/")); n != 20 {
		t.Errorf("%d objects of 20 came back", n)
	}
}

// TestVolumeFull: a restore that does not fit fails with the right error and
// leaves nothing half-written under a final name.
func TestVolumeFull(t *testing.T) {
	rootOnly(t)
	server := testenv.MinIO(t)
	r := newRig(t, server)
	a := r.node(t)
	a.start()
	a.write("small", "x")
	for i := range 8 {
		a.write(fmt.Sprintf("large%d", i), strings.Repeat("y", 1<<20))
	}
	a.mustStop()

	b := r.node(t)
	mountSmall(t, b.dir, "4m")
	err := b.tryRestore()
	if !errors.Is(err, tree.ErrFull) {
		t.Fatalf("restore into a volume that is too small: %v", err)
	}
	if !strings.Contains(err.Error(), "the files of the bucket need 8.0 MiB in all, of which ") || !strings.Contains(err.Error(), "B left") {
		t.Errorf("it does not say how much is needed: %v", err)
	}
	for name, line := range b.listing() {
		if want := a.listing()[name]; line != want {
			t.Errorf("%s is %s, want %s or nothing", name, line, want)
		}
	}
	left, err := filepath.Glob(filepath.Join(b.dir, ".minio-sidecar", "tmp", "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestDamagedObject: a byte that flipped on the store's disk never reaches the app.
func TestDamagedObject(t *testing.T) {
	server := testenv.MinIO(t)
	r := newRig(t, server)
	a := r.node(t)
	a.start()
	a.write("good", "x")
	a.write("bad", strings.Repeat("content that will rot. ", 20000))
	a.mustStop()
	rot(t, filepath.Join(server.DataDir, r.bucket, "app", "bad"))

	b := r.node(t)
	err := b.tryRestore()
	if err == nil {
		t.Fatal("a restore with a damaged object succeeded")
	}
	if !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a damaged object is reported as %v", err)
	}
	if !strings.Contains(err.Error(), "bad") {
		t.Errorf("the error does not name the object: %v", err)
	}
	if _, err := os.Stat(b.path("bad")); !os.IsNotExist(err) {
		t.Errorf("a damaged file was handed out: %v", err)
	}
	// MinIO with one drive drops an object that it cannot read, so to the next
	// attempt it looks deleted. The app must not start as if it had been.
	if err := b.tryRestore(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "bad") {
		t.Errorf("the second attempt: %v", err)
	}
}
