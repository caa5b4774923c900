package syncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/base"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/metrics"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/store/s3"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// patience is the bound on every wait of a test; it is long because a loaded
// machine is no fault, and no test waits longer than it must.
const testPatience = 3 * time.Minute

// rig is one bucket on a real MinIO, for any number of nodes.
type rig struct {
	server   *testenv.Server
	bucket   string
	endpoint string // of a proxy, where a test put one in between
}

func newRig(t *testing.T, server *testenv.Server) *rig {
	return &rig{server: server, bucket: server.NewBucket(t, false), endpoint: server.Endpoint}
}

// node is a volume with a syncer of its own, as a pod has.
type node struct {
	t      *testing.T
	rig    *rig
	dir    string // the volume
	state  string
	config Config
	wrap   func(store.Store) store.Store // what the engine is given instead

	credentials string        // folder, instead of the server's own
	stall       time.Duration // patience with a connection that stands still
	partSize    int64         // of large uploads, instead of the usual
	attendEvery time.Duration // to look at the bucket, instead of the usual
	lookAfter   time.Duration // to look at a file that does not rest, instead of the usual
	failingMax  int           // paths that fail and are kept, instead of the usual
	metrics     *metrics.Metrics
	logged      logBook
	opened      int  // how much of it is from before the engine
	terse       bool // what happens to each path is not logged

	engine *Engine
	close  func()
	cancel context.CancelFunc
	ended  chan error
}

func (r *rig) node(t *testing.T, options ...func(*Config)) *node {
	n := &node{t: t, rig: r, dir: t.TempDir(), state: t.TempDir(), config: Config{
		Bucket:       r.bucket,
		Endpoint:     r.endpoint,
		Prefix:       "app/",
		Mode:         contract.ModeShared,
		Delete:       true,
		FlushTimeout: testPatience,
		ScanInterval: time.Hour,
		Concurrency:  16,
	}}
	for _, o := range options {
		o(&n.config)
	}
	t.Cleanup(func() {
		if n.cancel != nil {
			n.stop()
		}
		n.shut()
	})
	return n
}

// open puts a fresh engine together, as a started container does.
func (n *node) open() *Engine {
	n.t.Helper()
	n.shut()
	must := func(err error) {
		if err != nil {
			n.t.Helper()
			n.t.Fatal(err)
		}
	}
	cfg := s3.Config{
		Endpoint: n.rig.endpoint, Region: testenv.Region, Bucket: n.config.Bucket, Prefix: n.config.Prefix,
		CredentialsDir: n.credentials, StallTimeout: n.stall, PartSize: n.partSize,
		Concurrency: n.config.Concurrency,
	}
	if n.credentials == "" {
		cfg.AccessKey, cfg.SecretKey = n.rig.server.AccessKey, n.rig.server.SecretKey
	}
	st, err := s3.New(cfg)
	must(err)
	var remote store.Store = st
	if n.wrap != nil {
		remote = n.wrap(st)
	}
	tr, err := tree.Open(n.dir)
	must(err)
	db, err := base.Open(n.state)
	must(err)
	level := slog.LevelDebug
	if n.terse {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewMultiHandler(
		slog.NewTextHandler(n.t.Output(), &slog.HandlerOptions{Level: level}),
		slog.NewTextHandler(&n.logged, &slog.HandlerOptions{Level: slog.LevelInfo}), // the default
	))
	n.metrics, n.opened = metrics.New(), n.logged.size()
	n.engine, err = New(n.config, Deps{Store: remote, Tree: tr, Base: db, Log: log, Metrics: n.metrics})
	must(err)
	if n.attendEvery > 0 {
		n.engine.attendEvery = n.attendEvery
	}
	if n.lookAfter > 0 {
		n.engine.dirty = dirty.New(dirtyLimit, n.lookAfter)
	}
	if n.failingMax > 0 {
		n.engine.failingMax = n.failingMax
	}
	n.close = func() {
		st.Close()
		if err := db.Close(); err != nil {
			n.t.Error(err)
		}
		if err := tr.Close(); err != nil {
			n.t.Error(err)
		}
	}
	return n.engine
}

// logBook is what an engine has logged, for people, so far.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Count(b.text.Bytes(), []byte(text))
}

// lastSince is the last line with text in it, of those after the first so many
// bytes.
func (b *logBook) lastSince(from int, text string) (line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range strings.Lines(string(b.text.Bytes()[from:])) {
		if strings.Contains(l, text) {
			line = l
		}
	}
	return line
}

func (b *logBook) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Len()
}

func (n *node) shut() {
	if n.close != nil {
		n.close()
		n.close = nil
	}
}

func (n *node) tryRestore() error {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	return n.open().Restore(ctx)
}

func (n *node) restore() {
	n.t.Helper()
	if err := n.tryRestore(); err != nil {
		n.t.Fatal(err)
	}
}

// start runs sync and waits until it is in step.
func (n *node) start() {
	n.t.Helper()
	n.startOnly()
	n.await("in step", func() bool { return n.engine.isInStep() })
}

func (n *node) startOnly() {
	n.t.Helper()
	e := n.open()
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.ended = cancel, make(chan error, 1)
	go func() { n.ended <- e.Sync(ctx) }()
}

// stop ends sync as SIGTERM does.
func (n *node) stop() error {
	n.t.Helper()
	n.cancel()
	n.cancel = nil
	select {
	case err := <-n.ended:
		return err
	case <-time.After(2 * testPatience):
		n.t.Fatal("sync does not end")
		return nil
	}
}

func (n *node) mustStop() {
	n.t.Helper()
	if err := n.stop(); err != nil {
		n.t.Fatalf("stop: %v", err)
	}
}

func (n *node) flush() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	if err := n.engine.Flush(ctx, false); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) await(what string, ok func() bool) {
	n.t.Helper()
	n.awaitFor(testPatience, what, ok)
}

func (n *node) awaitFor(patience time.Duration, what string, ok func() bool) {
	n.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			n.t.Fatalf("never %s; status: %+v", what, n.engine.Status())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (n *node) verify() {
	n.t.Helper()
	diffs, err := n.engine.Verify(context.Background())
	if err != nil {
		n.t.Fatal(err)
	}
	for _, d := range diffs {
		n.t.Errorf("%s: %s", d.Path, d.What)
	}
}

func (n *node) path(p string) string { return filepath.Join(n.dir, filepath.FromSlash(p)) }

func (n *node) write(p, content string) {
	n.t.Helper()
	if err := os.MkdirAll(filepath.Dir(n.path(p)), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(n.path(p), []byte(content), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) remove(p string) {
	n.t.Helper()
	if err := os.RemoveAll(n.path(p)); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) do(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// listing describes a volume, one line a path, without what cannot be equal on
// two nodes.
func (n *node) listing() map[string]string {
	n.t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(n.dir, func(p string, d fs.DirEntry, err error) (failed error) {
		defer func() {
			if errors.Is(failed, fs.ErrNotExist) { // it went while we looked
				failed = nil
			}
		}()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(n.dir, p)
		if err != nil || rel == "." {
			return err
		}
		if rel == strings.TrimSuffix(contract.Reserved, "/") {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%s %d:%d", info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if len(content) > 64 {
				content = fmt.Appendf(nil, "%d bytes, %x", len(content), content[:32])
			}
			line += fmt.Sprintf(" %d.%09d %q", st.Mtim.Sec, st.Mtim.Nsec, content)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d.%09d -> %q", st.Mtim.Sec, st.Mtim.Nsec, target)
		}
		found[rel] = line
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return found
}

func (n *node) equals(other *node) {
	n.t.Helper()
	if diff := cmp.Diff(other.listing(), n.listing()); diff != "" {
		n.t.Errorf("volumes differ (- the other, + this one):\n%s", diff)
	}
}

// keys are the files and links of the prefix, ours left out. (A folder that
// was empty for a moment may have left an object; it does no harm.)
func (r *rig) keys(t *testing.T, prefix string) []string {
	t.Helper()
	var keys []string
	st, err := s3.New(s3.Config{Endpoint: r.server.Endpoint, Region: testenv.Region, Bucket: r.bucket,
		AccessKey: r.server.AccessKey, SecretKey: r.server.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	for obj, err := range st.List(context.Background(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		if key := obj.Key[len(prefix):]; !strings.HasPrefix(key, contract.Reserved) && !strings.HasSuffix(key, "/") {
			keys = append(keys, key)
		}
	}
	return keys
}

func condition(n *node) status.Condition { return n.engine.Status().Condition }
