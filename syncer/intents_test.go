package syncer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// lostAnswers is a store whose answers to uploads get lost: they happen, and
// fail. From the first of them on it can be made to say nothing at all.
type lostAnswers struct {
	store.Store
	mute atomic.Bool // while set every upload is lost so

	landed chan struct{} // closed once the first upload has happened
	once   sync.Once
}

func (s *lostAnswers) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	obj, err := s.Store.Upload(ctx, u)
	if err != nil || !s.mute.Load() || strings.Contains(u.Key, contract.Reserved) {
		return obj, err
	}
	s.once.Do(func() { close(s.landed) })
	return store.Object{}, fmt.Errorf("upload %s: %w: connection reset by peer", u.Key, store.ErrUnreachable)
}

// lose makes the answers to uploads of n get lost from now on.
func (n *node) lose() *lostAnswers {
	s := &lostAnswers{landed: make(chan struct{})}
	s.mute.Store(true)
	n.wrap = func(real store.Store) store.Store { s.Store = real; return s }
	return s
}

// oneOwnWriter demands what must hold after whatever happened to the answers:
// volume and bucket are the same, with what the app made and no more.
func oneOwnWriter(t *testing.T, n *node, want map[string]string) {
	t.Helper()
	n.flush()
	n.verify()
	if keys := n.rig.keys(t, "app/"); len(keys) != len(want) {
		t.Errorf("bucket: %q, want %q", keys, want)
	}
	for p, line := range n.listing() {
		if _, known := want[p]; !known && !strings.HasPrefix(line, "d") {
			t.Errorf("in the volume is %s: %s", p, line)
		}
	}
	for p, content := range want {
		if got, err := os.ReadFile(n.path(p)); err != nil || string(got) != content {
			t.Errorf("%s: %q, %v", p, got, err)
		}
	}
}

// TestLostAnswers: an upload happens, its answer gets lost, and the app goes on
// before it is tried again. This is nobody's conflict, and no news from others.
func TestLostAnswers(t *testing.T) {
	server := testenv.MinIO(t)
	for name, c := range map[string]struct {
		before string // what f was, if anything
		then   func(*node)
		want   map[string]string
	}{
		"then nothing":         {"", func(*node) {}, map[string]string{"f": "2"}},
		"new, then changed":    {"", func(n *node) { n.write("f", "three") }, map[string]string{"f": "three"}},
		"new, then deleted":    {"", func(n *node) { n.remove("f") }, map[string]string{}},
		"known, then changed":  {"1", func(n *node) { n.write("f", "three") }, map[string]string{"f": "three"}},
		"known, then deleted":  {"1", func(n *node) { n.remove("f") }, map[string]string{}},
		"known, then renamed":  {"1", func(n *node) { n.do(os.Rename(n.path("f"), n.path("g"))) }, map[string]string{"g": "2"}},
		"same size and tick":   {"1", func(n *node) { n.write("f", "3") }, map[string]string{"f": "3"}},
		"known, folder of it":  {"1", func(n *node) { n.remove("f"); n.write("f/x", "4") }, map[string]string{"f/x": "4"}},
		"known, and a new one": {"1", func(n *node) { n.write("g", "4") }, map[string]string{"f": "2", "g": "4"}},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %t", name, killed), func(t *testing.T) {
				t.Parallel()
				n := newRig(t, server).node(t, func(c *Config) { c.FlushTimeout = time.Millisecond })
				s := n.lose()
				s.mute.Store(false)
				n.start()
				n.write("other", "0") // or the guard against emptied volumes steps in
				if c.before != "" {
					n.write("f", c.before)
				}
				n.flush()
				s.mute.Store(true)
				n.write("f", "2")
				<-s.landed
				if killed {
					n.killed()
				}
				c.then(n)
				if killed {
					n.wrap = nil
					n.start()
				} else {
					s.mute.Store(false)
				}
				want := maps.Clone(c.want)
				want["other"] = "0"
				oneOwnWriter(t, n, want)
				n.stop()
			})
		}
	}
}

// killed ends the node's sync and leaves its state as a kill at this moment
// would have.
func (n *node) killed() {
	n.t.Helper()
	image := n.t.TempDir()
	n.do(os.CopyFS(image, os.DirFS(n.state)))
	if err := n.stop(); err == nil {
		n.t.Fatal("it ended well although no upload did")
	}
	n.shut()
	n.state = image
}

// A store that refuses uploads, for however long, costs neither memory nor
// disk: what it has refused did not happen. What it has left open may have, and
// is remembered, but not without end.
func TestRefusedUploads(t *testing.T) {
	t.Parallel() // it waits for most of the time
	r := newRig(t, testenv.MinIO(t))
	proxy := r.between(t)
	n := r.node(t)
	n.open()
	attempt := func(size int) error {
		content := bytes.Repeat([]byte("x"), size)
		_, err := n.engine.put(t.Context(), store.Upload{
			Key: "app/file", Body: bytes.NewReader(content), Size: int64(size),
		}, entry.Local{Key: "file", Fingerprint: entry.Fingerprint{Kind: entry.File, Size: int64(size)}})
		return err
	}
	refuse := func(status int, code string) {
		proxy.answers(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(status)
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
			}
			return r.Method == http.MethodPut
		})
	}
	logged := func() int64 {
		info, err := os.Stat(filepath.Join(n.state, "uploads.log"))
		n.do(err)
		return info.Size()
	}
	for status, code := range map[int]string{
		507: "XMinioStorageFull", 403: "AccessDenied", 400: "BadDigest", 413: "EntityTooLarge", 404: "NoSuchBucket",
	} {
		refuse(status, code)
		for i := range 400 {
			if err := attempt(i); err == nil {
				t.Fatalf("%s: taken", code)
			}
		}
		if open := n.engine.base.Intents("file"); len(open) > 0 {
			t.Errorf("%s: %d uploads count as perhaps done", code, len(open))
		}
	}
	unsure := func(i int) {
		status := []int{503, 500, 400}[i%3]
		refuse(status, map[int]string{503: "SlowDown", 500: "InternalError", 400: "RequestTimeout"}[status])
	}
	for i := range 80 { // minio-go takes its time over each of them
		unsure(i)
		if err := attempt(i); err == nil {
			t.Fatal("taken")
		}
	}
	if open := len(n.engine.base.Intents("file")); open == 0 || open >= 80 {
		t.Errorf("%d uploads count as perhaps done", open)
	}
	before := logged()
	for i := range 20 {
		unsure(i)
		if err := attempt(79); err == nil {
			t.Fatal("taken")
		}
	}
	if grown := logged() - before; grown > 0 {
		t.Errorf("the same upload, again and again, took %d bytes of the disk", grown)
	}
	proxy.honest()
	n.do(attempt(3))
}
