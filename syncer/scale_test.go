package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/internal/testmemory"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// What is mostly holes is so again after it went through the bucket, which
// knows no holes, in one piece or in several.
func TestSparseFile(t *testing.T) {
	server := testenv.MinIO(t)
	for name, size := range map[string]int64{"whole.img": 6 << 20, "ranges.img": 70 << 20} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, server)
			a, b := r.node(t), r.node(t)
			f, err := os.Create(a.path(name))
			a.do(err)
			for _, at := range []int64{0, size / 3, size - 5000} { // in the middle of blocks as well
				_, err := f.WriteAt([]byte("some data"), at)
				a.do(err)
			}
			a.do(f.Truncate(size))
			a.do(f.Sync())
			a.do(f.Close())
			a.start()
			a.flush()
			a.mustStop()

			b.restore()
			b.equals(a)
			b.verify()
			sync, err := os.Open(b.path(name))
			b.do(err)
			b.do(sync.Sync()) // blocks are given out when they are written back
			b.do(sync.Close())
			before, after := blocks(t, a.path(name)), blocks(t, b.path(name))
			if after > before {
				t.Errorf("%d blocks of 512 bytes on disk after the restore, %d before", after, before)
			}
		})
	}
}

// planned stops the upload of one key before it begins, and says what it was to be.
type planned struct {
	store.Store
	key     string
	uploads chan store.Upload
}

func (p *planned) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if u.Key != p.key {
		return p.Store.Upload(ctx, u)
	}
	select {
	case p.uploads <- u:
	case <-ctx.Done():
		return store.Object{}, context.Cause(ctx)
	}
	<-ctx.Done()
	return store.Object{}, context.Cause(ctx)
}

// TestHugeFileIsPlanned: a file of 50 GiB, nearly all of it holes, is found,
// compared and about to be uploaded, in parts, without anything of it having
// been read or kept.
func TestHugeFileIsPlanned(t *testing.T) {
	const size, most = 50 << 30, 4 << 20
	r := newRig(t, testenv.MinIO(t))
	a := r.node(t)
	a.start()
	a.write("small", "x")
	a.mustStop()
	huge := &planned{key: "app/disk.img", uploads: make(chan store.Upload)}
	a.wrap = func(real store.Store) store.Store { huge.Store = real; return huge }
	f, err := os.Create(a.path("disk.img"))
	a.do(err)
	_, err = f.WriteAt([]byte("the only data"), size/2)
	a.do(err)
	a.do(f.Truncate(size))
	a.do(f.Close())

	memory, read := testmemory.Live(), bytesRead(t)
	a.startOnly()
	select {
	case u := <-huge.uploads:
		if u.Size != size || !u.IfAbsent || u.Commit == nil {
			t.Errorf("the plan is %+v", u)
		}
		if grown := testmemory.Live() - memory; grown > most {
			t.Errorf("%d bytes of memory", grown)
		}
		// On a tmpfs it is read once beforehand, where its times do not show all changes.
		if read := bytesRead(t) - read; read > most && !a.engine.tree.Unstamped() {
			t.Errorf("%d bytes were read, of the store's answers and of the file", read)
		}
	case <-time.After(testPatience):
		t.Fatal("it is not uploaded")
	}
	var unsynced *UnsyncedError
	if err := a.stopWithin(time.Second); !errors.As(err, &unsynced) || unsynced.Paths[0].Path != "disk.img" {
		t.Errorf("stop in the middle of it: %v", err)
	}
}

// bytesRead is how much this process has read so far, from files and
// connections; see proc_pid_io(5). Nothing else is to run meanwhile.
func bytesRead(t *testing.T) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(text), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Files that were away and are back just as they were leave no difference for
// a scan to find. Their deletions are not held for ever.
func TestHaltEndsWhenFilesAreBack(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a := r.node(t)
	a.start()
	const files = 30
	for i := range files {
		a.write(fmt.Sprintf("folder/%d", i), "content")
	}
	a.flush()
	away := a.path("../away")
	a.do(os.Rename(a.path("folder"), away))
	a.await("halted", func() bool { return a.engine.Status().HaltedDeletes >= files }) // the folder may have an object of its own
	a.do(os.Rename(away, a.path("folder")))
	a.await("free of deletions", func() bool {
		s := a.engine.Status()
		return s.HaltedDeletes == 0 && s.Pending == 0
	})
	a.mustStop()
	if n := len(r.keys(t, "app/")); n != files {
		t.Errorf("%d objects, want %d", n, files)
	}
}

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks
}
