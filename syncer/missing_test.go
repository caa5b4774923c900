package syncer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// TestMissingIsNoSuccess: a file that cannot be in the bucket is named by a
// flush and by the end of a sync, neither of which is a success then. What has
// no content is not missing.
func TestMissingIsNoSuccess(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a := r.node(t)
	long := strings.Repeat(strings.Repeat("d", 200)+"/", 6) + "too long for a key"
	a.start()
	a.do(syscall.Mkfifo(a.path("pipe"), 0o600))
	a.flush()
	a.write("good", "x")
	a.write(long, "x")
	names := func(err error) {
		t.Helper()
		var unsynced *UnsyncedError
		if !errors.As(err, &unsynced) || unsynced.Count != 1 || len(unsynced.Paths) != 1 || unsynced.Paths[0].Path != long {
			t.Errorf("%+v: %v", unsynced, err)
		}
		if err != nil && !strings.Contains(err.Error(), "1 change is not in the bucket: "+long+" (name: ") {
			t.Errorf("it says: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	names(a.engine.Flush(ctx, false))
	if !slices.Contains(r.keys(t, "app/"), "good") {
		t.Error("what can be in the bucket is not")
	}
	names(a.stop())

	a.start()
	a.remove(strings.Repeat("d", 200))
	a.flush()
	a.mustStop()
}
