package syncer

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
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
