package watch

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a hint may take that must come. It is only reached by
// tests that fail.
const patience = 20 * time.Second

// listener runs a watcher and keeps what it says.
type listener struct {
	t    *testing.T
	w    *Watcher
	log  *logBook
	stop func()
	both sync.WaitGroup

	mu     sync.Mutex
	events []Event
	news   chan struct{}
}

// watch starts watching dir and waits until everything is watched.
func watch(t *testing.T, dir string, opts Options) *listener {
	t.Helper()
	l := prepare(t, dir, opts)
	l.run()
	l.ready()
	l.listen()
	return l
}

func prepare(t *testing.T, dir string, opts Options) *listener {
	t.Helper()
	l := &listener{t: t, log: &logBook{}, news: make(chan struct{}, 1)}
	opts.Reserved = ".minio-sidecar/"
	opts.Logger = slog.New(l.log)
	w, err := New(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	l.w = w
	return l
}

// run starts the watcher, and has it stopped in the end.
func (l *listener) run() {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = func() {
		cancel()
		l.both.Wait()
	}
	l.both.Go(func() { l.w.Run(ctx) })
	l.t.Cleanup(l.stop)
}

func (l *listener) ready() {
	l.t.Helper()
	select {
	case <-l.w.Ready():
	case <-time.After(patience):
		l.t.Fatal("never ready")
	}
}

// listen starts to take events.
func (l *listener) listen() {
	l.both.Go(func() {
		for ev := range l.w.Events() {
			l.mu.Lock()
			l.events = append(l.events, ev)
			l.mu.Unlock()
			select {
			case l.news <- struct{}{}:
			default:
			}
		}
	})
}

// covers reports whether ev says to look at path.
func (ev Event) covers(path string) bool {
	if ev.Kind == Subtree {
		return strings.HasPrefix(path, ev.Path) || path+"/" == ev.Path
	}
	return strings.TrimSuffix(path, "/") == ev.Path
}

// expect waits until each of the paths has been named since the last forget.
func (l *listener) expect(paths ...string) {
	l.t.Helper()
	deadline := time.After(patience)
	for _, path := range paths {
		for !l.named(path) {
			select {
			case <-l.news:
			case <-deadline:
				l.t.Fatalf("never named %q; named were %v", path, l.heard())
			}
		}
	}
}

// expectEvent waits for exactly this event.
func (l *listener) expectEvent(want Event) {
	l.t.Helper()
	deadline := time.After(patience)
	for {
		if slices.Contains(l.heard(), want) {
			return
		}
		select {
		case <-l.news:
		case <-deadline:
			l.t.Fatalf("no event %v in %v", want, l.heard())
		}
	}
}

func (l *listener) named(path string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range l.events {
		if ev.covers(path) {
			return true
		}
	}
	return false
}

// settle waits until everything that was done before has been heard. The
// kernel's queue is in order, so when a file made for that purpose is heard all
// before it has been handled. What is waiting for delivery is not in order: so
// until nothing is, and once more for the hint that may be on its way.
func (l *listener) settle() {
	l.t.Helper()
	l.touch()
	waitFor(l.t, l.w.pending.empty)
	l.touch()
}

// touch waits until a new file is heard. It is written again and again,
// because a watcher that has just lost its picture has one hint for all.
func (l *listener) touch() {
	l.t.Helper()
	settles++
	want := Event{Path: fmt.Sprintf("settle-%d", settles), Kind: Path}
	waitFor(l.t, func() bool {
		write(l.t, l.w.root+"/"+want.Path, "")
		select {
		case <-l.news:
		case <-time.After(50 * time.Millisecond):
		}
		return slices.Contains(l.heard(), want)
	})
}

func (p *pending) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.all && len(p.order) == 0
}

var settles int

// forget drops what was heard so far.
func (l *listener) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = nil
}

func (l *listener) heard() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Event(nil), l.events...)
}

// logBook keeps the log's lines.
type logBook struct {
	mu    sync.Mutex
	lines []string
}

func (b *logBook) Enabled(context.Context, slog.Level) bool { return true }
func (b *logBook) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *logBook) WithGroup(string) slog.Handler            { return b }
func (b *logBook) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	return nil
}

func (b *logBook) count(part string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.lines {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

func write(t testing.TB, path, content string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(content), 0o644))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
