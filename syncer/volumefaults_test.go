package syncer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// remount changes how the tmpfs at dir is mounted.
func remount(t *testing.T, dir string, flags uintptr, options string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, options); err != nil {
		t.Fatalf("remount %s: %v", dir, err)
	}
}

// nothingHalf checks that every file that is in the volume is as another node
// has it, and that nothing is left of those that are not.
func (n *node) nothingHalf(other *node) {
	n.t.Helper()
	want := other.listing()
	for p, line := range n.listing() {
		if want[p] != line {
			n.t.Errorf("%s is %s, want %s or nothing", p, line, want[p])
		}
	}
}

// TestVolumeFullWhilePulling: what another writer brings does not fit. It waits,
// with a state that says so; nothing is half there; nobody takes it for deleted;
// what is written here still goes out; and with room it comes by itself.
func TestVolumeFullWhilePulling(t *testing.T) {
	rootOnly(t)
	r := newRig(t, testenv.MinIO(t))
	a, b := r.node(t), r.node(t)
	mountSmall(t, b.dir, "4m")
	a.attendEvery, b.attendEvery = 200*time.Millisecond, 200*time.Millisecond
	a.start()
	a.write("small", "x")
	a.flush()
	b.restore()
	b.start()
	for i := range 12 {
		a.write(fmt.Sprint("large/", i), strings.Repeat(fmt.Sprint(i%10), 1<<20))
	}
	a.flush()
	b.await("full", func() bool { return condition(b) == status.VolumeFull })
	if s := b.engine.Status(); s.Pending == 0 || s.Message == "" || s.OldestPendingSeconds == 0 {
		t.Errorf("status of a volume that is full: %+v", s)
	}
	for i := range 25 { // what goes out well does not end the state
		f, err := os.OpenFile(b.path("small"), os.O_WRONLY, 0) // takes no room
		b.do(err)
		_, err = f.WriteString(string(rune('a' + i)))
		b.do(errors.Join(err, f.Close()))
		time.Sleep(40 * time.Millisecond)
		if c := condition(b); c != status.VolumeFull {
			t.Fatalf("look %d: condition %s, want %s as long as it lasts", i, c, status.VolumeFull)
		}
	}
	a.await("pulled", func() bool { content, err := os.ReadFile(a.path("small")); return err == nil && string(content) == "y" })
	b.nothingHalf(a)
	a.hasFiles(13)
	a.hasKeys(13)
	b.await("full still", func() bool { return condition(b) == status.VolumeFull })

	remount(t, b.dir, 0, "size=64m")
	b.await("all there", func() bool { return len(b.files()) == 13 })
	b.await("well again", func() bool { return condition(b) == status.OK && b.engine.Status().Pending == 0 })
	b.equals(a)
	b.mustStop()
	a.mustStop()
	a.hasKeys(13)
}

// TestVolumeReadOnly: a volume that cannot be written any more is reported, and
// nothing is concluded from it; once it can, all comes by itself.
func TestVolumeReadOnly(t *testing.T) {
	rootOnly(t)
	r := newRig(t, testenv.MinIO(t))
	a, b := r.node(t), r.node(t)
	mountSmall(t, b.dir, "16m")
	a.attendEvery, b.attendEvery = 200*time.Millisecond, 200*time.Millisecond
	a.start()
	a.fill(10)
	b.restore()
	b.start()
	b.write("mine", "written before") // and perhaps not uploaded yet
	remount(t, b.dir, syscall.MS_RDONLY, "")
	a.write("d0/0", "changed")
	a.write("new", "x")
	a.remove("d1/1")
	a.flush()
	b.await("failing", func() bool { return condition(b) == status.Failing })
	if s := b.engine.Status(); s.Pending == 0 || !strings.Contains(s.Message, "read-only") {
		t.Errorf("status of a read-only volume: %+v", s)
	}
	b.await("uploaded", func() bool { return len(r.keys(t, "app/")) == 11 })
	a.await("pulled", func() bool { return len(a.files()) == 11 })

	remount(t, b.dir, 0, "size=16m")
	b.await("well again", func() bool { return condition(b) == status.OK && b.engine.Status().Pending == 0 })
	b.await("in step", func() bool { _, err := os.Stat(b.path("d1/1")); return os.IsNotExist(err) })
	b.mustStop()
	a.mustStop()
	b.equals(a)
	a.hasKeys(11)
}

// TestRestoreIntoReadOnlyVolume: it ends, with a reason, and not as if it were
// complete.
func TestRestoreIntoReadOnlyVolume(t *testing.T) {
	rootOnly(t)
	r := newRig(t, testenv.MinIO(t))
	a, b := r.node(t), r.node(t)
	a.start()
	a.fill(3)
	a.mustStop()
	mountSmall(t, b.dir, "16m")
	b.do(os.Mkdir(filepath.Join(b.dir, strings.TrimSuffix(contract.Reserved, "/")), 0o755))
	e := b.open()
	remount(t, b.dir, syscall.MS_RDONLY, "")
	err := e.Restore(t.Context())
	if !errors.Is(err, syscall.EROFS) || e.Status().Restored {
		t.Errorf("restore into a read-only volume: %v, %+v", err, e.Status())
	}
	remount(t, b.dir, 0, "")
	b.restore()
	b.equals(a)
}
