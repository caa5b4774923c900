package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// TestManyMissingAreGone: what is not in the volume any more is not missing in
// the bucket, also where it was too much to be named, and nothing told of it.
func TestManyMissingAreGone(t *testing.T) {
	a := newRig(t, testenv.MinIO(t)).node(t)
	a.terse = true
	a.start()
	a.write("good", "x")
	folder := strings.Repeat(strings.Repeat("d", 200)+"/", 6)
	for i := range namedMax + 200 {
		a.write(fmt.Sprint(folder, i), "x")
	}
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	var unsynced *UnsyncedError
	for range 2 { // as long as it is there, no scan forgets it
		if err := a.engine.Flush(ctx, false); !errors.As(err, &unsynced) || unsynced.Count != namedMax+200 {
			t.Errorf("%v", err)
		}
	}
	a.do(os.Rename(a.path(strings.Repeat("d", 200)), filepath.Join(t.TempDir(), "elsewhere")))
	a.flush()
	if s := a.engine.Status(); s.Unsyncable != 0 {
		t.Errorf("%d paths cannot be synced", s.Unsyncable)
	}
	a.mustStop()
}
