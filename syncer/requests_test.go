package syncer

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// traffic counts the requests for files, by what they ask. What is ours in the
// bucket, and the tries that a start makes, are left out.
type traffic struct {
	mu    sync.Mutex
	count map[string]int
	began time.Time
}

func (c *traffic) see(_ http.ResponseWriter, r *http.Request) bool {
	q := r.URL.Query()
	kind := r.Method
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case strings.Contains(key+q.Get("prefix")+"/", contract.Reserved):
		return false
	case q.Has("metadata"):
		kind = "listing with attributes"
	case key == "" && q.Has("list-type") && q.Get("prefix") == "app/" && q.Get("max-keys") != "1":
		kind = "listing of all"
	case key == "":
		kind = "about the bucket"
	case q.Has("uploadId"), q.Has("uploads"):
		kind = "of an upload in parts"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == nil {
		c.count = map[string]int{}
	}
	c.count[kind]++
	return false
}

func (c *traffic) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count, c.began = map[string]int{}, time.Now()
}

// within checks how many requests of each kind there were at most; of kinds that
// are not named there may be none.
func (c *traffic) within(t *testing.T, when string, most map[string]int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%s: %v", when, c.count)
	for kind, n := range c.count {
		if n > most[kind] {
			t.Errorf("%s: %d requests (%s), at most %d are needed", when, n, kind, most[kind])
		}
	}
}

// TestRequests: a file costs one request, when it comes and when it goes, and
// none where nothing has changed. What a listing or an answer with the content
// has said is not asked for again: see docs/design/requests.md.
func TestRequests(t *testing.T) {
	const files, perFolder = 1000, 50
	const pages = 2 // of the listing, which has ours as well
	r := newRig(t, testenv.MinIO(t))
	proxy := r.between(t)
	var c traffic
	proxy.answers(c.see)
	a := r.node(t)
	fill := func(folder string) { // beside the volume: a folder that grows may be empty for a moment
		t.Helper()
		dir := filepath.Join(t.TempDir(), folder)
		for i := range files {
			path := filepath.Join(dir, fmt.Sprint(i/perFolder), fmt.Sprint(i))
			a.do(os.MkdirAll(filepath.Dir(path), 0o755))
			a.do(os.WriteFile(path, fmt.Appendf(nil, "%s %d", folder, i), 0o644))
		}
		a.do(os.Rename(dir, a.path(folder)))
	}

	a.start()
	c.reset()
	fill("new")
	a.flush()
	// Whether the name of a folder is that of a file is asked once in ten
	// seconds: MinIO would take what is in it, and not list it.
	names := 2 + files/perFolder
	c.within(t, "sync of new files", map[string]int{"PUT": files, "about the bucket": 2, "HEAD": names * (1 + int(time.Since(c.began)/(10*time.Second)))})
	a.mustStop()

	c.reset()
	a.start()
	a.flush()
	a.mustStop()
	// Each start tells the others that it is there, below the prefix's name.
	c.within(t, "sync started again", map[string]int{"HEAD": 1, "listing of all": pages, "about the bucket": 2})

	b := r.node(t)
	c.reset()
	b.restore()
	c.within(t, "restore", map[string]int{"GET": files, "listing of all": pages, "about the bucket": 2})

	c.reset()
	b.start()
	b.flush()
	b.mustStop()
	c.within(t, "sync after the restore", map[string]int{"HEAD": 1, "listing of all": pages, "about the bucket": 2})
	b.equals(a)
}
