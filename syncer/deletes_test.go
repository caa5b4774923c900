package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// TestDisasters are the ways in which syncs that delete have emptied the only
// copy of somebody's data, each by its name.
func TestDisasters(t *testing.T) {
	server := testenv.MinIO(t)
	for name, run := range map[string]func(*testing.T, *rig){
		"source unmounted while sync runs":          unmountedRunning,
		"source not mounted when sync starts":       unmountedAtStart,
		"source emptied, marker and all":            emptiedWithMarker,
		"source emptied, a few files, nobody saw":   func(t *testing.T, r *rig) { emptiedUnseen(t, r, 3) },
		"source emptied, a dozen, nobody saw":       func(t *testing.T, r *rig) { emptiedUnseen(t, r, 12) },
		"restore half done, then sync":              halfRestored,
		"restore half done, then sync, then a stop": halfRestoredStopped,
		"exclude pattern with delete":               excludeWithDelete,
		"include pattern with delete":               includeWithDelete,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newRig(t, server))
		})
	}
}

// fill writes n files and waits until they are in the bucket.
func (n *node) fill(files int) {
	n.t.Helper()
	n.lay(files)
	n.flush()
}

// lay writes n files. Before a sync is started, none of their folders is seen
// empty, which would give it an object.
func (n *node) lay(files int) {
	n.t.Helper()
	for i := range files {
		n.write(fmt.Sprintf("d%d/%d", i%3, i), fmt.Sprint("content of ", i))
	}
}

// hasKeys checks how many files are in the bucket.
func (n *node) hasKeys(want int) {
	n.t.Helper()
	if keys := n.rig.keys(n.t, n.config.Prefix); len(keys) != want {
		n.t.Errorf("the bucket has %d files, want %d: %.300q", len(keys), want, keys)
	}
}

// files are the paths of all that is not a folder in the volume.
func (n *node) files() []string {
	n.t.Helper()
	var files []string
	for p, line := range n.listing() {
		if !strings.HasPrefix(line, "d") {
			files = append(files, p)
		}
	}
	slices.Sort(files)
	return files
}

func (n *node) hasFiles(want int) {
	n.t.Helper()
	if files := n.files(); len(files) != want {
		n.t.Errorf("the volume has %d files, want %d: %.300q", len(files), want, files)
	}
}

// rootOnly skips what mounts a file system where that is not allowed. Whoever
// comes back from it may.
func rootOnly(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a file system")
	}
	return true
}

// detach takes the file system at dir away from under whoever uses it.
func detach(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
}

func unmountedRunning(t *testing.T, r *rig) {
	rootOnly(t)
	a := r.node(t)
	mountSmall(t, a.dir, "16m")
	a.start()
	a.fill(8)
	detach(t, a.dir)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := a.engine.Flush(ctx, false); err == nil {
		t.Error("a flush of a volume that is not mounted any more succeeded")
	}
	a.hasKeys(8)
	if err := a.stopWithin(time.Second); err == nil {
		t.Error("sync of a volume that is not mounted any more ended well")
	}
	a.hasKeys(8)
	a.start() // on what is below the mount point: another volume, and empty
	a.mustStop()
	a.hasKeys(8)
	a.hasFiles(8)
}

func unmountedAtStart(t *testing.T, r *rig) {
	rootOnly(t)
	a := r.node(t)
	mountSmall(t, a.dir, "16m")
	a.start()
	a.fill(8)
	a.mustStop()
	a.shut()
	detach(t, a.dir)
	a.start()
	a.flush()
	a.mustStop()
	a.hasKeys(8)
	a.hasFiles(8)
}

// `rm -rf volume/* volume/.*` takes the syncer's own folder as well. That is no
// reason to stop: what comes afterwards is synced. But so few deletions would
// be let go otherwise, as they were seen to happen; these are not.
func emptiedWithMarker(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.fill(8)
	names, err := os.ReadDir(a.dir)
	a.do(err)
	for _, name := range names {
		a.remove(name.Name())
	}
	a.await("halted", func() bool { return condition(a) == status.Halted })
	a.hasKeys(8)
	var unsynced *UnsyncedError
	if err := a.engine.Flush(t.Context(), false); !errors.As(err, &unsynced) || unsynced.Halted < 8 {
		t.Errorf("flush with held deletions: %v", err)
	}
	a.hasKeys(8)
	if err := a.stop(); !errors.As(err, &unsynced) || unsynced.Halted < 8 {
		t.Errorf("stop with held deletions: %v", err)
	}
	a.hasKeys(8)
	b := r.node(t)
	b.restore()
	b.hasFiles(8)

	a.start() // as a container that was restarted: it is the same volume
	a.await("halted again", func() bool { return condition(a) == status.Halted })
	if err := a.engine.Flush(t.Context(), true); err != nil {
		t.Error(err)
	}
	a.hasKeys(0)
	a.write("later", "written after all")
	a.mustStop()
	a.hasKeys(1)
}

// A volume that was found empty, while nobody saw how, is not believed, however
// few files it had.
func emptiedUnseen(t *testing.T, r *rig, files int) {
	a := r.node(t)
	a.start()
	a.fill(files)
	a.mustStop()
	for i := range 3 {
		a.remove(fmt.Sprint("d", i))
	}
	a.start()
	a.await("halted", func() bool { return condition(a) == status.Halted })
	a.hasKeys(files)
	var unsynced *UnsyncedError
	if err := a.stop(); !errors.As(err, &unsynced) || unsynced.Halted < int64(files) {
		t.Errorf("stop with held deletions: %v", err)
	}
	a.hasKeys(files)
}

// someDownloads lets through so many downloads, and none after them.
type someDownloads struct {
	store.Store
	left atomic.Int64
	out  chan struct{} // closed when there are none left
}

func (s *someDownloads) Download(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (store.Object, error) {
	switch n := s.left.Add(-1); {
	case n >= 0:
		return s.Store.Download(ctx, key, etag, size, dst)
	case n == -1:
		close(s.out)
	}
	<-ctx.Done()
	return store.Object{}, context.Cause(ctx)
}

// restoreHalf restores some of the files, and is then interrupted.
func (n *node) restoreHalf(files int64) {
	n.t.Helper()
	some := &someDownloads{out: make(chan struct{})}
	some.left.Store(files)
	n.wrap = func(real store.Store) store.Store { some.Store = real; return some }
	ctx, cancel := context.WithCancel(n.t.Context())
	defer cancel()
	ended := make(chan error, 1)
	e := n.open()
	go func() { ended <- e.Restore(ctx) }()
	select {
	case <-some.out:
		n.await("half restored", func() bool { return e.Status().Progress.FilesDone >= files })
	case err := <-ended:
		n.t.Fatalf("the restore ended before it was interrupted: %v", err)
	}
	cancel()
	if err := <-ended; err == nil || e.Status().Restored {
		n.t.Fatalf("an interrupted restore: %v, %+v", err, e.Status())
	}
	n.wrap = nil
}

func halfRestored(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.fill(20)
	a.mustStop()
	b := r.node(t)
	b.restoreHalf(7)
	if n := len(b.files()); n != 7 {
		t.Fatalf("%d files are restored, not half of them", n)
	}
	b.write("d1/new", "written too early")
	b.start()
	b.flush()
	b.hasKeys(21)
	b.hasFiles(21)
	b.mustStop()
	b.verify()
}

// A sync that is stopped before it has brought the rest does not take the rest
// for deleted, neither at its end nor at the next start.
func halfRestoredStopped(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.fill(20)
	a.mustStop()
	b := r.node(t)
	b.restoreHalf(7)
	none := &someDownloads{out: make(chan struct{})}
	b.wrap = func(real store.Store) store.Store { none.Store = real; return none }
	b.startOnly()
	select {
	case <-none.out:
	case <-time.After(testPatience):
		t.Fatal("sync does not bring what the restore has not")
	}
	if err := b.stopWithin(time.Second); err == nil {
		t.Error("a sync that is not in step ended well")
	}
	b.hasKeys(20)
	b.wrap = nil
	b.start()
	b.mustStop()
	b.hasKeys(20)
	b.equals(a)
}

// What a pattern hides is not deleted: not when the pattern comes, not in a
// volume that was restored under it, and not when it goes again.
func excludeWithDelete(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.fill(9) // three in each of d0, d1, d2
	a.mustStop()
	a.config.Exclude = []string{"d1/**", "d2"}
	a.start()
	a.flush()
	a.mustStop()
	a.hasKeys(9)
	a.hasFiles(9)

	b := r.node(t, func(c *Config) { c.Exclude = []string{"d1/**", "d2"} })
	b.restore()
	b.hasFiles(3)
	b.start()
	b.write("d0/more", "x")
	b.flush()
	b.mustStop()
	b.hasKeys(10)
	b.hasFiles(4)
	b.config.Exclude = nil
	b.start()
	b.mustStop()
	b.hasKeys(10)
	b.hasFiles(10)
}

func includeWithDelete(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.fill(9)
	a.mustStop()
	a.config.Include = []string{"d0/**"}
	a.start()
	a.remove("d0/0")
	a.flush()
	a.mustStop()
	a.hasKeys(8)
	a.hasFiles(8)
}
