package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
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

// What may not be watched is polled, and the log says once what to do.
func TestWatchesExhausted(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 {
		write(t, fmt.Sprintf("%s/d%d/sub/f", dir, i), "")
	}
	l := watch(t, dir, Options{MaxWatches: 10, PollInterval: 50 * time.Millisecond})
	exhausted(t, l, dir)
}

func exhausted(t *testing.T, l *listener, dir string) {
	t.Helper()
	reason, dirs := l.w.Degraded()
	if !strings.Contains(reason, "fs.inotify.max_user_watches") || dirs == 0 {
		t.Fatalf("degraded: %q, %d folders", reason, dirs)
	}
	for round := range 3 {
		l.forget()
		var want []string
		for i := range 20 {
			path := fmt.Sprintf("d%d/sub/f%d", i, round)
			write(t, dir+"/"+path, "")
			want = append(want, path)
		}
		l.expect(want...)
	}
	if n := l.log.count("fs.inotify.max_user_watches"); n != 1 {
		t.Errorf("the log names the sysctl %d times", n)
	}
	// When there is room again all is watched.
	for i := range 16 {
		check(t, os.RemoveAll(fmt.Sprintf("%s/d%d", dir, i)))
	}
	waitFor(t, func() bool { reason, dirs := l.w.Degraded(); return reason == "" && dirs == 0 })
	if l.log.count("all folders are watched again") != 1 {
		t.Error("the log does not say that it is over")
	}
	l.settle()
	l.forget()
	write(t, dir+"/d17/sub/again", "")
	l.expectEvent(Event{Path: "d17/sub/again", Kind: Path})
}

// The same by the kernel's own limit, in a user namespace that has a low one,
// so that no other process is deprived.
func TestWatchesExhaustedForReal(t *testing.T) {
	const role = "WATCH_TEST_LIMITED"
	if os.Getenv(role) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWatchesExhaustedForReal$", "-test.v")
		cmd.Env = append(os.Environ(), role+"=1")
		id := []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		gid := []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: id, GidMappings: gid}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Skip("may not make a user namespace:", err)
		}
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	check(t, os.WriteFile("/proc/sys/user/max_inotify_watches", []byte("10"), 0o644))
	dir := t.TempDir()
	for i := range 20 {
		write(t, fmt.Sprintf("%s/d%d/sub/f", dir, i), "")
	}
	exhausted(t, watch(t, dir, Options{PollInterval: 50 * time.Millisecond}), dir)
}

func TestNoInotifyInstance(t *testing.T) {
	dir := t.TempDir()
	l := prepare(t, dir, Options{PollInterval: 20 * time.Millisecond})
	open := l.w.openQueue
	fail := true
	var mu sync.Mutex
	l.w.openQueue = func() (*queue, error) {
		mu.Lock()
		defer mu.Unlock()
		if fail {
			return nil, fmt.Errorf("%w: %w", errNoInstance, unix.EMFILE)
		}
		return open()
	}
	l.run()
	l.ready()
	l.listen()
	for range 3 { // all is polled
		l.forget()
		l.expectEvent(Event{Kind: Subtree})
	}
	if reason, _ := l.w.Degraded(); !strings.Contains(reason, "fs.inotify.max_user_instances") {
		t.Errorf("degraded: %q", reason)
	}
	if n := l.log.count("fs.inotify.max_user_instances"); n != 1 {
		t.Errorf("the log names the sysctl %d times", n)
	}
	mu.Lock()
	fail = false
	mu.Unlock()
	waitFor(t, func() bool { reason, _ := l.w.Degraded(); return reason == "" })
	l.settle()
}

func TestRootGoesAway(t *testing.T) {
	for name, remove := range map[string]func(dir string) error{
		"renamed": func(dir string) error { return os.Rename(dir, dir+".away") },
		"removed": os.RemoveAll,
		"replaced": func(dir string) error {
			return errJoin(os.Rename(dir, dir+".away"), os.MkdirAll(dir+"/d", 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir() + "/volume"
			write(t, dir+"/d/f", "")
			l := watch(t, dir, Options{PollInterval: 20 * time.Millisecond})
			check(t, remove(dir))
			l.expectEvent(Event{Kind: Subtree})
			if name != "replaced" {
				waitFor(t, func() bool { reason, _ := l.w.Degraded(); return strings.Contains(reason, dir) || reason != "" })
			}
			l.forget()
			check(t, os.MkdirAll(dir+"/d", 0o755))
			l.expectEvent(Event{Kind: Subtree})
			waitFor(t, func() bool { reason, _ := l.w.Degraded(); return reason == "" })
			l.settle()
			l.forget()
			write(t, dir+"/d/new", "")
			l.expectEvent(Event{Path: "d/new", Kind: Path})
		})
	}
}

// A mount over the root raises no event; the poll finds it.
func TestRootMountedOver(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/d/f", "")
	l := watch(t, dir, Options{PollInterval: 20 * time.Millisecond})
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("may not mount:", err)
	}
	mounted := true
	defer func() {
		if mounted {
			unix.Unmount(dir, unix.MNT_DETACH)
		}
	}()
	l.expectEvent(Event{Kind: Subtree})
	l.settle()
	l.forget()
	check(t, unix.Unmount(dir, unix.MNT_DETACH))
	mounted = false
	l.expectEvent(Event{Kind: Subtree})
	l.settle()
	l.forget()
	write(t, dir+"/d/new", "")
	l.expectEvent(Event{Path: "d/new", Kind: Path})
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
