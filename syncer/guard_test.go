package syncer

import (
	"errors"
	"fmt"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// TestHalfOfAHundred: half of a hundred files may go; more than half go only
// when a person says so, whether somebody saw them go or a scan finds them
// gone, and until then all objects stay.
func TestHalfOfAHundred(t *testing.T) {
	const files = 100
	server := testenv.MinIO(t)
	for _, gone := range []int{50, 51, 60} {
		for how, unseen := range map[string]bool{"seen": false, "found by a scan at the start": true} {
			t.Run(fmt.Sprintf("%d %s", gone, how), func(t *testing.T) {
				t.Parallel()
				a := newRig(t, server).node(t)
				a.start()
				for i := range files {
					a.write(fmt.Sprint(i), "x")
				}
				a.flush()
				if n := a.engine.base.Len(); n != files {
					t.Fatalf("%d entries take part, want %d", n, files)
				}
				if unseen {
					a.mustStop()
				}
				for i := range gone {
					a.remove(fmt.Sprint(i))
				}
				if unseen {
					a.start()
				}
				if gone <= files/2 {
					a.flush()
					a.hasKeys(files - gone)
					a.mustStop()
					return
				}
				a.await("halted", func() bool { return a.engine.Status().HaltedDeletes == int64(gone) })
				a.write("new", "uploaded all the same")
				var unsynced *UnsyncedError
				if err := a.engine.Flush(t.Context(), false); !errors.As(err, &unsynced) || unsynced.Halted != int64(gone) {
					t.Errorf("flush with held deletions: %v", err)
				}
				if c := condition(a); c != status.Halted {
					t.Errorf("condition %s, want %s", c, status.Halted)
				}
				a.hasKeys(files + 1)
				if err := a.engine.Flush(t.Context(), true); err != nil {
					t.Error(err)
				}
				a.hasKeys(files + 1 - gone)
				a.mustStop()
			})
		}
	}
}
