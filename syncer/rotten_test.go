package syncer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// TestRottenUpdate: what another writer brings has rotted on the store's disk.
// A running sync does not take it; it keeps what it has, says what is wrong, and
// goes on with all else; and when the object is well again it comes by itself.
func TestRottenUpdate(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a := r.node(t)
	a.start()
	a.write("bad", "an earlier state")
	a.write("good", "an earlier state")
	a.flush()
	proxy := r.between(t)
	b := r.node(t)
	b.attendEvery = 200 * time.Millisecond
	b.restore()
	b.start()

	rotten := strings.Repeat("content that will rot. ", 20000)
	proxy.answers(slowDown(listsFiles)) // until it has rotted
	a.write("bad", rotten)
	a.write("good", "a new state")
	a.flush()
	rot(t, filepath.Join(r.server.DataDir, r.bucket, "app", "bad"))
	proxy.honest()
	b.await("aware of it", func() bool { return condition(b) == status.Damaged })
	if s := b.engine.Status(); !strings.Contains(s.Message, "bad") {
		t.Errorf("status: %+v", s)
	}
	b.await("updated otherwise", func() bool { return b.holds("good", "a new state") })
	b.listsAgain(proxy, 3)
	if c := condition(b); c != status.Damaged {
		t.Errorf("condition %s, want %s as long as it lasts", c, status.Damaged)
	}
	if !b.holds("bad", "an earlier state") || !a.holds("bad", rotten) {
		t.Error("one of the volumes has lost what it had")
	}

	_, err := r.server.Client(t).PutObject(t.Context(), r.bucket, "app/bad", strings.NewReader(rotten), int64(len(rotten)), "", "", putOptions())
	a.do(err)
	b.await("updated", func() bool { return b.holds("bad", rotten) })
	b.await("well again", func() bool { return condition(b) == status.OK && b.engine.Status().Pending == 0 })
	if left, err := filepath.Glob(b.path(".minio-sidecar/tmp/*/*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	b.mustStop()
	a.mustStop()
	a.hasKeys(2)
	a.hasFiles(2)
	b.verify()
}

// holds reports whether the file has this content now.
func (n *node) holds(p, content string) bool {
	have, err := os.ReadFile(n.path(p))
	return err == nil && string(have) == content
}
