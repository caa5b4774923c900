package syncer

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// TestStateVolumeFull: where what is synced cannot be written down, nothing is
// called synced, and each path says why; what the app does goes on, and is in
// the bucket once there is room again, with a new start or without.
func TestStateVolumeFull(t *testing.T) {
	rootOnly(t)
	server := testenv.MinIO(t)
	for name, restart := range map[string]bool{"until a new start": true, "for a while": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newRig(t, server).node(t)
			mountSmall(t, a.state, "1m")
			a.terse = true
			a.start()
			a.fill(30)
			ballast := a.state + "/ballast"
			f, err := os.Create(ballast)
			a.do(err)
			block := make([]byte, 4<<10)
			for err == nil {
				_, err = f.Write(block)
			}
			a.do(f.Close())
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			const more = 400 // with their names, more than the base has room for
			for i := range more {
				a.write(fmt.Sprintf("more/%s-%d", strings.Repeat("long", 40), i), fmt.Sprint(i))
			}
			a.write("d0/0", "changed")
			a.remove("d1/1")
			a.await("aware of it", func() bool {
				s := a.engine.Status()
				return len(s.PendingPaths) > 0 && strings.Contains(s.PendingPaths[0].Reason, a.state) &&
					strings.Contains(s.PendingPaths[0].Reason, "no space left on device")
			})
			if restart {
				var unsynced *UnsyncedError
				if err := a.stopWithin(3 * time.Second); !errors.As(err, &unsynced) || unsynced.Count == 0 ||
					!strings.Contains(err.Error(), "no space left on device") {
					t.Errorf("stop with a full state volume: %v", err)
				}
			}
			a.do(os.Remove(ballast))
			if restart {
				a.start()
			}
			a.flush()
			a.hasKeys(30 - 1 + more)
			a.hasFiles(30 - 1 + more)
			a.mustStop()
			a.verify()
			b := a.rig.node(t)
			b.restore()
			b.equals(a)
		})
	}
}
