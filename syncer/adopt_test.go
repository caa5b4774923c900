package syncer

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// lostBaseAttributes: without a base, equal content with other attributes is
// still a difference, and the later change counts.
func lostBaseAttributes(t *testing.T, r *rig) {
	for _, again := range []string{"sync", "restore first"} {
		a := r.node(t, func(c *Config) { c.Prefix = again + "/" })
		a.start()
		at := time.Now().Add(-time.Hour)
		for _, p := range []string{"mode", "newer", "older", "empty"} {
			a.write(p, strings.TrimPrefix(p, "empty"))
			a.do(os.Chtimes(a.path(p), at, at))
		}
		a.mustStop()
		a.do(os.Chmod(a.path("mode"), 0o600))
		a.do(os.Chmod(a.path("empty"), 0o640))
		a.do(os.Chtimes(a.path("newer"), at, at.Add(time.Minute)))
		a.do(os.Chtimes(a.path("older"), at, at.Add(-time.Minute)))
		want := a.listing()
		a.shut()
		a.state = t.TempDir()
		if again != "sync" {
			a.restore()
		}
		a.start()
		a.flush()
		a.verify()
		got := a.listing()
		if got["older"] == want["older"] {
			t.Errorf("%s: an older time went to the bucket", again)
		}
		delete(got, "older")
		delete(want, "older")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the volume's attributes (-want +got):\n%s", again, diff)
		}
		a.mustStop()
	}
}

// TestAttributesAlone: a change of nothing but attributes is in the bucket, for
// new volumes; those that have the content do not hear of it before it changes.
func TestAttributesAlone(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a, b := r.node(t), r.node(t)
	a.start()
	a.write("f", "content")
	a.flush()
	b.restore()
	b.attendEvery = 20 * time.Millisecond
	b.start()
	mode := func(n *node) os.FileMode {
		info, err := os.Stat(n.path("f"))
		n.do(err)
		return info.Mode().Perm()
	}
	a.do(os.Chmod(a.path("f"), 0o600))
	a.flush()
	a.write("sign", "that b has pulled since")
	a.flush()
	b.await("pulled", func() bool { return len(b.files()) == 2 })
	b.mustStop()
	b.start()
	if mode(b) != 0o644 {
		t.Error("it is noticed: the documentation says that it is not")
	}
	fresh := r.node(t)
	fresh.restore()
	fresh.equals(a)
	diffs, err := b.engine.Verify(t.Context())
	b.do(err)
	if len(diffs) != 1 || diffs[0].Path != "f" || !strings.HasPrefix(diffs[0].What, "mode differs") {
		t.Errorf("verify: %+v", diffs)
	}
	a.write("f", "other content")
	a.flush()
	b.await("pulled", func() bool { return mode(b) == 0o600 })
	b.mustStop()
	a.mustStop()
	b.equals(a)
}
