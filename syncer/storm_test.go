package syncer

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// TestNoStorm counts all that is asked of a store that is down for longer: files,
// listings, and what sidecars leave for each other. Whether there is something
// to do or not, it becomes ever less. When it is up again all goes on.
func TestNoStorm(t *testing.T) {
	t.Parallel() // it waits for most of the time
	server := testenv.MinIO(t)
	for name, files := range map[string]int{"nothing to do": 0, "much to do": 300} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for most of the time
			r := newRig(t, server)
			proxy := r.between(t)
			n := r.node(t)
			n.attendEvery = 50 * time.Millisecond
			n.start()
			n.fill(10)
			var ours atomic.Int64 // below .minio-sidecar/
			proxy.answers(slowDown(func(request *http.Request) bool {
				if strings.Contains(request.URL.Path+request.URL.Query().Get("prefix"), contract.Reserved) {
					ours.Add(1)
				}
				return true
			}))
			before := proxy.requests.Load()
			waits := n.logged.count("does not take part")
			for i := range files {
				n.write(fmt.Sprint("new/", i), "x")
			}
			n.await("down", func() bool { return n.tells(status.Unreachable) })
			time.Sleep(12 * time.Second)
			// Each of the loops that ask by themselves has had about six waits.
			if got := ours.Load(); got > 24 {
				t.Errorf("%d requests were for what sidecars tell each other", got)
			}
			// After each wait comes at most one try by each worker.
			waits = n.logged.count("does not take part") - waits
			most := int64((waits+1)*n.config.Concurrency + 24)
			if files == 0 {
				most = 24
			}
			if got := proxy.requests.Load() - before; got > most || got == 0 {
				t.Errorf("%d requests after %d waits, want at most %d", got, waits, most)
			}
			if !n.tells(status.Unreachable) {
				t.Error(n.told())
			}
			proxy.honest()
			n.await("well again", func() bool { return n.tells(status.OK) && n.engine.Status().Pending == 0 })
			n.hasKeys(10 + files)
			n.mustStop()
			n.verify()
		})
	}
}
