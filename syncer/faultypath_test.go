package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// poison is something bad on the way to the store, and how it shows.
type poison struct {
	kind, stream string // a toxic; "cut" is none
	attributes   map[string]any
	// least is how long every request takes at least. Where it is zero they fail.
	least time.Duration
	only  string // work that it shows in; all, if empty
}

// strike makes the path bad until it is cured.
func (p poison) strike(t *testing.T, path *testenv.FaultyPath) (cure func()) {
	t.Helper()
	if p.kind == "cut" {
		path.Cut()
		return func() { path.Mend(t) }
	}
	return path.Poison(t, p.kind, p.stream, p.attributes)
}

// TestFaultyPath: the way to the store is bad, in the middle of each kind of
// work, until that has shown, then good again. What must hold is always the
// same.
func TestFaultyPath(t *testing.T) {
	t.Parallel() // it waits for most of the time
	server := testenv.MinIO(t)
	limit := func(bytes int) map[string]any { return map[string]any{"bytes": bytes} }
	for name, p := range map[string]poison{
		"cut":                {kind: "cut"},
		"reset":              {kind: "reset_peer", stream: "downstream", attributes: map[string]any{"timeout": 5}},
		"answers cut short":  {kind: "limit_data", stream: "downstream", attributes: limit(100)},
		"requests cut short": {kind: "limit_data", stream: "upstream", attributes: limit(100)},
		"contents cut short": {kind: "limit_data", stream: "upstream", attributes: limit(3000), only: "uploads"},
		"slow": {kind: "latency", stream: "upstream", attributes: map[string]any{"latency": 150, "jitter": 50},
			least: 100 * time.Millisecond},
		// No answer has less than 400 bytes, which are three slices or more.
		"in slices": {kind: "slicer", stream: "downstream",
			attributes: map[string]any{"average_size": 100, "size_variation": 50, "delay": 15_000}, // µs
			least:      30 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			badWay(t, server, p)
		})
	}
}

func badWay(t *testing.T, server *testenv.Server, p poison) {
	direct := newRig(t, server)
	path := server.Faulty(t)
	bad := &rig{server: server, bucket: direct.bucket, endpoint: path.Endpoint}
	w := &requests{}
	a, other := bad.node(t), direct.node(t)
	a.wrap = w.of
	a.attendEvery, other.attendEvery = 200*time.Millisecond, 200*time.Millisecond
	a.start()
	other.start()
	a.await("one of two writers", func() bool { return len(a.engine.Status().OtherWriters) == 1 })
	for i := range 60 {
		a.write(fmt.Sprintf("old/%d", i), "x")
	}
	a.flush()

	// during has something done while the path is bad, until requests of these
	// kinds have shown that it is.
	during := func(work string, kinds string, do func()) {
		t.Helper()
		if p.only != "" && p.only != work {
			do()
			return
		}
		cure := p.strike(t, path)
		w.forget()
		do()
		a.await(work+" bad", func() bool { return w.bad(kinds, p.least) })
		cure()
	}
	during("uploads", "upload", func() {
		for i := range 20 {
			a.write(fmt.Sprintf("during/%d", i), strings.Repeat(fmt.Sprint(i), 500))
		}
		a.write("during/large", strings.Repeat("large ", 4<<20)) // 24 MiB: in parts
		a.write("old/3", "changed")
	})
	a.flush()
	a.hasKeys(81)
	during("deletions", "stat delete", func() {
		for i := range 40 {
			a.remove(fmt.Sprintf("old/%d", i))
		}
	})
	a.flush()
	a.hasKeys(41)
	during("pulls", "list stat download", func() {
		for i := range 20 {
			other.write(fmt.Sprintf("pulled/%d", i), strings.Repeat(fmt.Sprint(i), 300))
		}
		other.remove("old/50")
		other.flush()
	})
	a.await("pulled", func() bool { return len(a.files()) == 60 && slices.Equal(a.files(), other.files()) })
	a.flush()
	a.verify()
	a.equals(other)
	a.hasKeys(60)

	b := bad.node(t)
	b.wrap = w.of
	arrived, goOn := w.holdDownloads()
	t.Cleanup(goOn)
	restored := make(chan error, 1)
	e := b.open()
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	go func() { restored <- e.Restore(ctx) }()
	select {
	case <-arrived:
	case err := <-restored:
		t.Fatalf("the restore ended before anything was downloaded: %v", err)
	}
	during("downloads", "download", goOn)
	if err := <-restored; err != nil {
		t.Fatal(err)
	}
	b.equals(a)
	a.mustStop()
	other.mustStop()
}

// requests looks at how what is asked of a store ends.
type requests struct {
	mu      sync.Mutex
	from    time.Time // what began earlier does not count
	ended   []request
	arrived chan struct{} // closed when a download is held
	goOn    chan struct{} // closed when it may go on; nil where none is held
}

type request struct {
	kind string
	took time.Duration
	err  error
}

func (r *requests) of(real store.Store) store.Store { return &askedFor{real, r} }

func (r *requests) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.from, r.ended = time.Now(), nil
}

func (r *requests) done(kind string, began time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !began.Before(r.from) {
		r.ended = append(r.ended, request{kind, time.Since(began), err})
	}
}

// bad reports whether one of these was not answered, or, where each is to take
// least, whether some were and all of them took as long.
func (r *requests) bad(kinds string, least time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	slow := 0
	for _, q := range r.ended {
		answered := q.err == nil || errors.Is(q.err, store.ErrNotFound) || errors.Is(q.err, store.ErrPrecondition)
		switch {
		case !strings.Contains(kinds, q.kind):
		case least == 0 && errors.Is(q.err, store.ErrUnreachable):
			return true
		case least > 0 && answered && q.took < least:
			return false
		case answered:
			slow++
		}
	}
	return least > 0 && slow >= 5
}

// holdDownloads has downloads wait until goOn is called.
func (r *requests) holdDownloads() (arrived <-chan struct{}, goOn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived, r.goOn = make(chan struct{}), make(chan struct{})
	return r.arrived, sync.OnceFunc(func() { close(r.goOn) })
}

func (r *requests) hold() {
	r.mu.Lock()
	arrived, goOn := r.arrived, r.goOn
	r.arrived = nil
	r.mu.Unlock()
	if arrived != nil {
		close(arrived)
	}
	if goOn != nil {
		<-goOn
	}
}

// askedFor is a store whose requests are looked at.
type askedFor struct {
	store.Store
	*requests
}

func (s *askedFor) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	began := time.Now()
	obj, err := s.Store.Upload(ctx, u)
	s.done("upload", began, err)
	return obj, err
}

func (s *askedFor) Delete(ctx context.Context, key, etag string) error {
	began := time.Now()
	err := s.Store.Delete(ctx, key, etag)
	s.done("delete", began, err)
	return err
}

func (s *askedFor) Stat(ctx context.Context, key string) (store.Object, error) {
	began := time.Now()
	obj, err := s.Store.Stat(ctx, key)
	s.done("stat", began, err)
	return obj, err
}

func (s *askedFor) Download(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (store.Object, error) {
	s.hold()
	began := time.Now()
	obj, err := s.Store.Download(ctx, key, etag, size, dst)
	s.done("download", began, err)
	return obj, err
}

func (s *askedFor) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		began := time.Now()
		var failed error
		for obj, err := range s.Store.List(ctx, prefix) {
			failed = err
			if !yield(obj, err) {
				break
			}
		}
		s.done("list", began, failed)
	}
}
