package watch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
