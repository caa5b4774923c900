package watch

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Thousands of files at once are all named.
func TestBurst(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Mkdir(dir+"/d", 0o755))
	l := watch(t, dir, Options{})
	var want []string
	for i := range 3000 {
		path := fmt.Sprintf("d/f%d", i)
		write(t, dir+"/"+path, "x")
		want = append(want, path)
	}
	l.expect(want...)
}

// A consumer that does not come loses nothing and costs little.
func TestSlowConsumer(t *testing.T) {
	for name, tt := range map[string]struct {
		opts Options
		want int // at most so many hints for all
	}{
		"by folder":  {Options{MaxPerDir: 10, MaxPending: 100000}, 50},
		"altogether": {Options{MaxPerDir: 1000, MaxPending: 300}, 300},
		"by default": {Options{}, 4100},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := prepare(t, dir, tt.opts)
			l.run()
			l.ready()
			var want []string
			for i := range 40 {
				for j := range 100 {
					path := fmt.Sprintf("d%d/f%d", i, j)
					write(t, dir+"/"+path, "x")
					want = append(want, path)
				}
			}
			waitFor(t, func() bool { return l.w.pending.has(want[len(want)-1]) })
			l.w.pending.mu.Lock()
			total := l.w.pending.total
			l.w.pending.mu.Unlock()
			if total > tt.want {
				t.Errorf("%d hints are waiting", total)
			}
			l.listen()
			l.expect(want...)
		})
	}
}

// has reports whether path is waiting to be taken.
func (p *pending) has(path string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	dir, name := path[:strings.LastIndexByte(path, '/')+1], filepath.Base(path)
	if p.covered(dir) {
		return true
	}
	f := p.folders[dir]
	if f == nil {
		return false
	}
	_, ok := f.names[name]
	return ok
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came to that")
		}
	}
}

// When the kernel drops events everything is dirty, and is watched again.
func TestOverflow(t *testing.T) {
	const knob = "/proc/sys/fs/inotify/max_queued_events"
	dir := t.TempDir()
	l := prepare(t, dir, Options{})
	injected := make(chan func(), 1)
	if old, err := os.ReadFile(knob); err == nil && os.WriteFile(knob, []byte("16"), 0o644) == nil {
		// The limit is the instance's from when it is made.
		restore := sync.OnceFunc(func() {
			if err := os.WriteFile(knob, old, 0o644); err != nil {
				t.Errorf("fs.inotify.max_queued_events could not be set back to %s: %v", old, err)
			}
		})
		defer restore()
		open := l.w.openQueue
		l.w.openQueue = func() (*queue, error) {
			q, err := open()
			restore() // the next session has the usual limit
			return q, err
		}
		injected <- func() {}
	} else {
		t.Log("the sysctl may not be written; the kernel's report of an overflow is forged")
		l.w.openQueue = forgedOverflow(l.w.openQueue, injected)
	}
	l.run()
	l.ready()
	l.listen()
	(<-injected)()

	stop := make(chan struct{})
	var app sync.WaitGroup
	app.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				os.WriteFile(fmt.Sprintf("%s/f%d", dir, i%1000), nil, 0o644)
				os.MkdirAll(fmt.Sprintf("%s/d%d/e", dir, i%100), 0o755)
			}
		}
	})
	l.expectEvent(Event{Kind: Subtree})
	close(stop)
	app.Wait()
	if l.w.Overflows() == 0 {
		t.Error("not counted")
	}
	if l.log.count("fs.inotify.max_queued_events") == 0 {
		t.Error("the log does not name the sysctl")
	}
	l.settle()
	l.forget()
	for i := range 100 {
		path := fmt.Sprintf("d%d/e/later", i)
		if _, err := os.Stat(filepath.Dir(dir + "/" + path)); err != nil {
			continue
		}
		write(t, dir+"/"+path, "")
		l.expectEvent(Event{Path: path, Kind: Path})
	}
}

// forgedOverflow makes queues whose first is a pipe into which an overflow is
// written by the function that goes to injected.
func forgedOverflow(open func() (*queue, error), injected chan func()) func() (*queue, error) {
	first := true
	return func() (*queue, error) {
		q, err := open()
		if err != nil || !first {
			return q, err
		}
		first = false
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		q.f.Close()
		q.f = r
		injected <- func() {
			defer w.Close()
			w.Write([]byte{0xff, 0xff, 0xff, 0xff, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		}
		return q, nil
	}
}

func TestMountsBelowAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Mkdir(dir+"/m", 0o755))
	if err := unix.Mount("none", dir+"/m", "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("may not mount:", err)
	}
	defer unix.Unmount(dir+"/m", unix.MNT_DETACH)
	check(t, os.MkdirAll(dir+"/m/sub", 0o755))
	l := watch(t, dir, Options{})
	write(t, dir+"/m/sub/f", "")
	l.settle()
	for _, ev := range l.heard() {
		if strings.HasPrefix(ev.Path, "m") {
			t.Errorf("heard %v", ev)
		}
	}
	if reason, _ := l.w.Degraded(); reason != "" {
		t.Errorf("degraded: %s", reason)
	}
}

// Deeper than PATH_MAX.
func TestDeep(t *testing.T) {
	dir := t.TempDir()
	const levels, segment = 60, "a-name-that-makes-for-a-long-path-in-the-end-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	l := watch(t, dir, Options{})
	fd, err := unix.Open(dir, unix.O_PATH, 0)
	check(t, err)
	var path string
	for range levels {
		check(t, unix.Mkdirat(fd, segment, 0o755))
		next, err := unix.Openat(fd, segment, unix.O_PATH, 0)
		check(t, err)
		unix.Close(fd)
		fd = next
		path += segment + "/"
	}
	defer unix.Close(fd)
	l.settle()
	l.forget()
	f, err := unix.Openat(fd, "f", unix.O_CREAT|unix.O_WRONLY, 0o644)
	check(t, err)
	unix.Close(f)
	l.expectEvent(Event{Path: path + "f", Kind: Path})
}

// After any tumult of folders, once it is over, every folder is watched under
// the path that it has.
func TestEveryFolderIsWatchedInTheEnd(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			top := t.TempDir()
			dir, outside := top+"/volume", top+"/outside"
			check(t, os.MkdirAll(dir, 0o755))
			check(t, os.MkdirAll(outside, 0o755))
			l := watch(t, dir, Options{})
			var apps sync.WaitGroup
			for n := range uint64(2) {
				apps.Go(func() { tumult(rand.New(rand.NewPCG(seed, n)), dir, outside) })
			}
			apps.Wait()
			l.settle()
			l.forget()
			var want []Event
			check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					write(t, path+"/probe", "")
					want = append(want, Event{Path: strings.TrimPrefix(path+"/probe", dir+"/"), Kind: Path})
				}
				return err
			}))
			filepath.WalkDir(outside, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					write(t, path+"/stranger", "")
				}
				return nil
			})
			for _, ev := range want {
				l.expectEvent(ev)
			}
			l.settle()
			for _, ev := range l.heard() {
				if strings.HasSuffix(ev.Path, "stranger") {
					t.Errorf("heard %v of a folder that was moved out", ev)
				}
			}
			t.Logf("%d folders", len(want))
		})
	}
}

// tumult does random things to folders, with few names so that they collide.
func tumult(r *rand.Rand, dir, outside string) {
	pick := func(base string) string {
		for range 1 + r.IntN(3) {
			base += fmt.Sprintf("/%c", 'a'+r.IntN(4))
		}
		return base
	}
	for i := range 1500 {
		switch r.IntN(10) {
		case 0, 1, 2, 3:
			os.MkdirAll(pick(dir), 0o755)
		case 4, 5:
			os.Rename(pick(dir), pick(dir))
		case 6:
			unix.Renameat2(unix.AT_FDCWD, pick(dir), unix.AT_FDCWD, pick(dir), unix.RENAME_EXCHANGE)
		case 7:
			os.Rename(pick(dir), fmt.Sprintf("%s/%d", outside, r.IntN(5)))
		case 8:
			os.Rename(fmt.Sprintf("%s/%d", outside, r.IntN(5)), pick(dir))
		case 9:
			if i%5 == 0 {
				os.RemoveAll(pick(dir))
			} else {
				os.WriteFile(pick(dir), nil, 0o644)
			}
		}
	}
}
