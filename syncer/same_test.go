package syncer

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// TestCompareNeedsNoRoom: a large object, whose ETag proves nothing, is
// compared with its file in a volume that has no room for another copy: by
// verify, and by a sync that has lost its base.
func TestCompareNeedsNoRoom(t *testing.T) {
	rootOnly(t)
	a := newRig(t, testenv.MinIO(t)).node(t)
	mountSmall(t, a.dir, "20m")
	a.start()
	a.write("large", strings.Repeat("in parts", 12<<17)) // 12 MiB
	a.flush()
	full, err := os.Create(a.path("ballast"))
	a.do(err)
	defer full.Close()
	block := make([]byte, 1<<16)
	for err == nil {
		_, err = full.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	a.flush()
	a.verify()

	a.mustStop()
	a.state = t.TempDir()
	a.start()
	a.flush()
	a.verify()
	if n := len(a.rig.keys(t, "app/")); n != 2 {
		t.Errorf("%d objects, want 2", n)
	}
	a.mustStop()

	// A difference is still one.
	a.do(os.Truncate(a.path("ballast"), 0))
	f, err := os.OpenFile(a.path("large"), os.O_WRONLY, 0)
	a.do(err)
	_, err = f.WriteAt([]byte("X"), 7<<20)
	a.do(errors.Join(err, f.Close()))
	diffs, err := a.open().Verify(t.Context())
	a.do(err)
	if len(diffs) != 2 || diffs[1].Path != "large" || diffs[1].What != "content differs" {
		t.Errorf("found %v", diffs)
	}
}
