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
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// TestStateVolumeFull: where what is synced cannot be written down, nothing is
// called synced, and status, metrics, log and each path say why. What the app
// does goes to the bucket all the same, once and not again and again; deletions
// wait. When there is room again all is as it should be, with a new start or
// without.
func TestStateVolumeFull(t *testing.T) {
	t.Parallel() // it waits for most of the time
	rootOnly(t)
	server := testenv.MinIO(t)
	for name, restart := range map[string]bool{"until a new start": true, "for a while": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			proxy := r.between(t)
			a := r.node(t)
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
			puts, requests := proxy.puts.Load(), proxy.requests.Load()
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
			a.await("in a state that says so", func() bool { return a.tells(status.StateUnwritable) })
			if s := a.engine.Status(); !strings.Contains(s.Message, "no space left on device") || !strings.Contains(s.Message, "not acknowledged") {
				t.Errorf("message: %s", s.Message)
			}
			a.await("uploaded", func() bool { return len(a.rig.keys(t, "app/")) == 30+more })
			puts, requests = proxy.puts.Load()-puts, proxy.requests.Load()-requests
			if puts > 1+more+10 || requests > 3*more {
				t.Errorf("%d uploads, %d requests for %d files", puts, requests, 1+more)
			}
			waits := a.logged.count("could not record")
			requests = proxy.requests.Load()
			a.await("waiting on", func() bool { return a.logged.count("could not record") >= waits+3 })
			if requests = proxy.requests.Load() - requests; requests > 40 {
				t.Errorf("%d requests while there is nothing to be done", requests)
			}
			if s := a.engine.Status(); s.Pending == 0 || !a.tells(status.StateUnwritable) {
				t.Errorf("%d are pending; %s", s.Pending, a.told())
			}
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
			a.await("well again", func() bool { return a.tells(status.OK) })
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
