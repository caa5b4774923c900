package syncer

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// TestManyRenamedInAFullStore: of renamed files whose uploads fail, as many as can
// be remembered keep their objects. Those of the others go, because they cannot be
// told from deletions, which may be what makes room. All arrive when there is room.
func TestManyRenamedInAFullStore(t *testing.T) {
	t.Parallel() // deletions wait for what fails
	const files, limit = 12, 5
	n := newRig(t, testenv.MinIO(t)).node(t)
	full := n.pick(&picky{key: "app/new/", upload: store.ErrFull})
	n.start()
	n.fill(40)
	for i := range files {
		n.write(fmt.Sprint("old/", i), "the only copy")
	}
	n.flush()
	n.engine.unsent.max = limit
	n.do(os.Rename(n.path("old"), n.path("new")))
	olds := func() (count int) {
		for _, key := range n.rig.keys(t, "app/") {
			if strings.HasPrefix(key, "old/") {
				count++
			}
		}
		return count
	}
	n.await("down to the limit", func() bool { return olds() == limit })
	n.do(n.engine.scanNow(t.Context()))
	n.do(n.engine.scanNow(t.Context()))
	if got := olds(); got != limit || condition(n) != status.StoreFull {
		t.Errorf("%d objects are kept under their old names, want %d; %s", got, limit, n.told())
	}
	full.off.Store(true)
	n.flush()
	n.await("under their new names", func() bool { return olds() == 0 && n.engine.Status().Pending == 0 })
	n.hasKeys(40 + files)
	n.mustStop()
	n.verify()
}
