package syncer

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/internal/testmemory"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// TestMemoryWhileTheStoreIsDown: what waits for the store waits on disk. What is
// kept of each path is its name.
func TestMemoryWhileTheStoreIsDown(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	proxy := r.between(t)
	a := r.node(t)
	a.start()
	proxy.answers(slowDown(func(*http.Request) bool { return true }))
	const files, perPath = 10_000, 2 << 10
	before := testmemory.Live()
	content := strings.Repeat("x", 8<<10) // 80 MB in all
	a.do(os.MkdirAll(a.path("many"), 0o755))
	for i := range files {
		a.do(os.WriteFile(a.path(fmt.Sprint("many/", i)), []byte(content), 0o644))
	}
	a.await("all pending", func() bool { return a.engine.Status().Pending >= files })
	a.await("unreachable", func() bool { return condition(a) == status.Unreachable })
	if grown := testmemory.Live() - before; grown > files*perPath {
		t.Errorf("%d files that wait take %d bytes of memory, want at most %d", files, grown, files*perPath)
	}
	if err := a.stopWithin(time.Second); err == nil {
		t.Error("a stop with everything pending ended well")
	}
}

// TestMemoryOfStuckUploads: as many large uploads as can be under way, to a
// store that takes them and never says a word, cost no more memory than is
// theirs, however long they are.
func TestMemoryOfStuckUploads(t *testing.T) {
	const files, size, most = 24, 48 << 20, 64 << 20
	r := newRig(t, testenv.MinIO(t))
	proxy := r.between(t)
	a := r.node(t)
	a.stall = 2 * time.Second
	a.start()
	before := testmemory.Live()
	var swallowed atomic.Int64
	proxy.answers(func(_ http.ResponseWriter, request *http.Request) bool {
		if request.Method != http.MethodPut || !strings.Contains(request.URL.Path, "/app/large") {
			return false
		}
		swallowed.Add(1)
		_, _ = io.Copy(io.Discard, request.Body)
		<-request.Context().Done() // until the client gives it up
		panic(http.ErrAbortHandler)
	})
	for i := range files {
		// Half of them in parts, and half in one piece.
		f, err := os.Create(a.path(fmt.Sprint("large-", i)))
		a.do(err)
		a.do(f.Truncate(int64([]int{size, 8 << 20}[i%2])))
		a.do(f.Close())
	}
	a.await("under way", func() bool { return swallowed.Load() >= int64(a.config.Concurrency) })
	var peak int64
	a.await("unreachable", func() bool { peak = max(peak, testmemory.Live()-before); return condition(a) == status.Unreachable })
	again := swallowed.Load()
	a.await("tried again", func() bool { peak = max(peak, testmemory.Live()-before); return swallowed.Load() > again })
	if peak > most {
		t.Errorf("%d uploads under way take %d bytes of memory, want at most %d", files, peak, most)
	}
	t.Logf("at most %d bytes", peak)
	proxy.honest()
	a.flush()
	a.await("well again", func() bool { return condition(a) == status.OK })
	a.hasKeys(files)
	a.mustStop()
}
