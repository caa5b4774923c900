package syncer

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
