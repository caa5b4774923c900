package watch

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewNeedsADirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", "")
	for _, path := range []string{dir + "/none", dir + "/file"} {
		if _, err := New(path, Options{}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestFileEvents(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/d/old", "x")
	check(t, os.Symlink("/etc", dir+"/link"))
	l := watch(t, dir, Options{})
	for name, do := range map[string]func(path string) error{
		"d/created": func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"d/old":     func(p string) error { return os.Truncate(p, 5) },
		"d/mode":    func(p string) error { return errJoin(os.WriteFile(p, nil, 0o644), os.Chmod(p, 0o600)) },
		"d/times": func(p string) error {
			return errJoin(os.WriteFile(p, nil, 0o644), os.Chtimes(p, time.Now(), time.Unix(1, 0)))
		},
		"d/linked":   func(p string) error { return os.Link(dir+"/d/old", p) },
		"d/symlink":  func(p string) error { return os.Symlink("nowhere", p) },
		"d/pipe":     func(p string) error { return unix.Mkfifo(p, 0o644) },
		"d/new\nl":   func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"d/\xff\xfe": func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"top":        func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"link":       os.Remove,
	} {
		l.forget()
		check(t, do(dir+"/"+name))
		l.expectEvent(Event{Path: name, Kind: Path})
	}
	// Each change of an open file.
	f, err := os.OpenFile(dir+"/d/log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	check(t, err)
	defer f.Close()
	for range 3 {
		l.settle()
		l.forget()
		_, err := f.WriteString("line\n")
		check(t, err)
		l.expectEvent(Event{Path: "d/log", Kind: Path})
	}
	// Removing the last file of a folder concerns the folder.
	write(t, dir+"/e/f", "")
	l.settle()
	l.forget()
	check(t, os.Remove(dir+"/e/f"))
	l.expectEvent(Event{Path: "e/f", Kind: Path})
	l.expectEvent(Event{Path: "e", Kind: Path})
	// So does a change of its mode.
	l.settle()
	l.forget()
	check(t, os.Chmod(dir+"/e", 0o700))
	l.expectEvent(Event{Path: "e", Kind: Path})
}

func errJoin(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestReservedAndLinksAreNotWatched(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	check(t, os.MkdirAll(dir+"/.minio-sidecar/tmp", 0o755))
	check(t, os.MkdirAll(outside+"/sub", 0o755))
	check(t, os.Symlink(outside, dir+"/link"))
	write(t, dir+"/d/.minio-sidecar/f", "")
	l := watch(t, dir, Options{})
	check(t, os.Symlink(outside, dir+"/link2"))
	l.settle()
	l.forget()
	write(t, dir+"/.minio-sidecar/x", "")
	write(t, dir+"/.minio-sidecar/tmp/x", "")
	check(t, os.Chmod(dir+"/.minio-sidecar", 0o700))
	check(t, os.RemoveAll(dir+"/.minio-sidecar"))
	check(t, os.MkdirAll(dir+"/.minio-sidecar/tmp", 0o755))
	write(t, dir+"/.minio-sidecar/tmp/y", "")
	write(t, outside+"/f", "")
	write(t, outside+"/sub/f", "")
	check(t, os.Remove(outside+"/f"))
	l.settle()
	for _, ev := range l.heard() {
		if !strings.HasPrefix(ev.Path, "settle") {
			t.Errorf("heard %v", ev)
		}
	}
	// The name is reserved at the root alone.
	write(t, dir+"/d/.minio-sidecar/f", "x")
	l.expectEvent(Event{Path: "d/.minio-sidecar/f", Kind: Path})
}

// Files that are there before the watch is.
func TestNewFoldersWithFilesAtOnce(t *testing.T) {
	dir := t.TempDir()
	l := watch(t, dir, Options{})
	var want []string
	for i := range 50 {
		base := fmt.Sprintf("t%d/a/b/c/d/e/f/g/h", i)
		check(t, os.MkdirAll(dir+"/"+base, 0o755))
		for j := range 5 {
			path := fmt.Sprintf("%s/f%d", base, j)
			write(t, dir+"/"+path, "x")
			want = append(want, path)
		}
	}
	l.expect(want...)
	l.settle()
	l.forget()
	for i := range 50 { // and every level is watched by now
		write(t, fmt.Sprintf("%s/t%d/a/b/c/later", dir, i), "")
		l.expectEvent(Event{Path: fmt.Sprintf("t%d/a/b/c/later", i), Kind: Path})
	}
}

// A folder that is unpacked elsewhere and moved in.
func TestMoves(t *testing.T) {
	top := t.TempDir()
	dir, outside := top+"/volume", top+"/outside"
	write(t, dir+"/a/sub/f", "")
	write(t, outside+"/in/deep/f", "")
	l := watch(t, dir, Options{})

	// Within: the new path is named as a whole, and watched at every level.
	check(t, os.Rename(dir+"/a", dir+"/b"))
	l.expect("b/sub/f", "a/sub/f")
	l.settle()
	l.forget()
	write(t, dir+"/b/new", "")
	write(t, dir+"/b/sub/new", "")
	l.expectEvent(Event{Path: "b/new", Kind: Path})
	l.expectEvent(Event{Path: "b/sub/new", Kind: Path})
	for _, ev := range l.heard() {
		if strings.HasPrefix(ev.Path, "a") {
			t.Errorf("still reports %v", ev)
		}
	}

	// In.
	l.settle()
	l.forget()
	check(t, os.Rename(outside+"/in", dir+"/in"))
	l.expect("in/deep/f")
	l.settle()
	l.forget()
	write(t, dir+"/in/deep/g", "")
	l.expectEvent(Event{Path: "in/deep/g", Kind: Path})

	// Out: silence, however lively it is there.
	l.settle()
	check(t, os.Rename(dir+"/b", outside+"/b"))
	l.expect("b/sub/f")
	l.settle()
	l.forget()
	write(t, outside+"/b/x", "")
	write(t, outside+"/b/sub/x", "")
	check(t, os.RemoveAll(outside+"/b/sub"))
	l.settle()
	for _, ev := range l.heard() {
		if !strings.HasPrefix(ev.Path, "settle") {
			t.Errorf("a folder that was moved out reports %v", ev)
		}
	}

	// Across, over a folder that was there, and two exchanged.
	write(t, dir+"/x/only-x/f", "")
	write(t, dir+"/y/only-y/f", "")
	l.settle()
	l.forget()
	check(t, unix.Renameat2(unix.AT_FDCWD, dir+"/x", unix.AT_FDCWD, dir+"/y", unix.RENAME_EXCHANGE))
	l.expect("x/only-y/f", "y/only-x/f", "x/only-x/f", "y/only-y/f")
	l.settle()
	l.forget()
	write(t, dir+"/x/only-y/g", "")
	write(t, dir+"/y/only-x/g", "")
	l.expectEvent(Event{Path: "x/only-y/g", Kind: Path})
	l.expectEvent(Event{Path: "y/only-x/g", Kind: Path})
}

func TestDeleteAndMakeAgain(t *testing.T) {
	dir := t.TempDir()
	l := watch(t, dir, Options{})
	for i := range 100 {
		write(t, dir+"/d/e/f", "")
		if i%2 == 0 {
			check(t, os.RemoveAll(dir+"/d"))
		} else {
			check(t, os.Rename(dir+"/d", fmt.Sprintf("%s/was%d", dir, i)))
		}
	}
	write(t, dir+"/d/e/f", "")
	l.settle()
	l.forget()
	write(t, dir+"/d/e/g", "")
	l.expectEvent(Event{Path: "d/e/g", Kind: Path})
	write(t, dir+"/was99/e/g", "")
	l.expectEvent(Event{Path: "was99/e/g", Kind: Path})
}
