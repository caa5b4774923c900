package tree

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// commit writes a file by way of a Temp.
func commit(t *testing.T, v *Tree, path, content string, expect *entry.Fingerprint) (entry.Local, error) {
	t.Helper()
	p, err := v.Create(int64(len(content)))
	check(t, err)
	defer func() { check(t, p.Discard()) }()
	if _, err := p.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	a := v.Defaults()
	a.Perm = 0o644
	a.MTime = entry.Time{Sec: 1e9, Nsec: 5}
	return p.Commit(path, a, expect)
}

// everyKernel runs f as on a current kernel, and as on file systems and
// kernels that lack what is newest.
func everyKernel(t *testing.T, f func(t *testing.T, v *Tree, dir string)) {
	for _, tt := range []struct {
		name                            string
		stepwise, noExchange, noReplace bool
	}{
		{"current", false, false, false},
		{"no openat2", true, false, false},
		{"no RENAME_EXCHANGE", false, true, false},
		{"no renameat2 at all", true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, dir := openTest(t)
			v.root.Stepwise(tt.stepwise)
			v.noExchange.Store(tt.noExchange)
			v.noReplace.Store(tt.noReplace)
			f(t, v, dir)
			if names, _ := os.ReadDir(dir + "/.minio-sidecar/tmp/" + v.tmpName); len(names) != 0 {
				t.Errorf("temporary files are left: %v", names)
			}
		})
	}
}

func TestCommit(t *testing.T) {
	everyKernel(t, func(t *testing.T, v *Tree, dir string) {
		outside := t.TempDir()
		write(t, dir, "file", "old", "folder/f", "")
		check(t, os.Symlink(outside, dir+"/link"))
		check(t, os.Symlink("folder", dir+"/inlink"))

		l, err := commit(t, v, "new/a/b", "hello", nil)
		check(t, err)
		if l != lookup(t, v, "new/a/b") || l.Key != "new/a/b" || l.Size != 5 || l.Attrs.MTime != (entry.Time{Sec: 1e9, Nsec: 5}) {
			t.Errorf("returned %+v, there is %+v", l, lookup(t, v, "new/a/b"))
		}
		for _, d := range []string{"new", "new/a"} {
			if _, marked, _, _ := v.Lookup(d); marked {
				t.Errorf("parent %s needs an object: %+v", d, lookup(t, v, d))
			}
		}

		// Expecting nothing.
		for path, want := range map[string]error{
			"file": ErrChanged, "link": ErrChanged, "new/a/b": ErrChanged,
			"folder": ErrBlocked, "file/x": ErrBlocked, "file/x/y": ErrBlocked,
			"link/x": ErrBlocked, "link/x/y": ErrBlocked, "inlink/f2": ErrBlocked, "inlink/d/f2": ErrBlocked,
			"../out": ErrInvalidKey, ".minio-sidecar/volume": ErrInvalidKey, "folder/": nil,
		} {
			_, err := commit(t, v, path, "x", nil)
			if want == nil && err == nil || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", path, err, want)
			}
		}

		// Expecting something.
		was := lookup(t, v, "file").Fingerprint
		now, err := commit(t, v, "file", "new", &was)
		check(t, err)
		if got := content(t, dir+"/file"); got != "new" || now != lookup(t, v, "file") {
			t.Errorf("holds %q", got)
		}
		_, err = commit(t, v, "file", "newer", &was)
		wantErr(t, err, ErrChanged)
		_, err = commit(t, v, "nothing-here", "x", &was)
		wantErr(t, err, ErrChanged)
		_, err = commit(t, v, "nor/here", "x", &was)
		wantErr(t, err, ErrChanged)
		_, err = commit(t, v, "folder", "x", &was)
		wantErr(t, err, ErrBlocked)

		// A link is replaced, never written through.
		link := lookup(t, v, "link").Fingerprint
		_, err = commit(t, v, "link", "plain", &link)
		check(t, err)
		if names, _ := os.ReadDir(outside); len(names) != 0 {
			t.Errorf("written outside: %v", names)
		}
		if got := lookup(t, v, "link"); got.Kind != entry.File {
			t.Errorf("link is %+v", got)
		}
	})
}

func TestCommitNoticesEveryChange(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"content, same size and mtime": func(path string) error {
			st, err := os.Stat(path)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(path, []byte("two"), 0o644), os.Chtimes(path, time.Time{}, st.ModTime()))
		},
		"size":  func(path string) error { return os.Truncate(path, 1) },
		"mtime": func(path string) error { return os.Chtimes(path, time.Time{}, time.Unix(5, 5)) },
		"mode":  func(path string) error { return os.Chmod(path, 0o600) },
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+"~", []byte("one"), 0o644), os.Rename(path+"~", path))
		},
		"kind":    func(path string) error { return errors.Join(os.Remove(path), os.Symlink("one", path)) },
		"removed": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			v, dir := openTest(t)
			write(t, dir, "f", "one")
			was := lookup(t, v, "f").Fingerprint
			time.Sleep(tick) // past the grain of the kernel's clock
			check(t, change(dir+"/f"))
			after, _, _, _ := v.Lookup("f")
			_, err := commit(t, v, "f", "ours", &was)
			wantErr(t, err, ErrChanged)
			if now, _, _, _ := v.Lookup("f"); now != after {
				t.Errorf("the app's file was touched: %+v", now)
			}
			wantErr2 := ErrChanged
			if name == "removed" {
				wantErr2 = nil
			}
			if err := v.Remove("f", was); !errors.Is(err, wantErr2) {
				t.Errorf("remove: %v", err)
			}
		})
	}
}

// putBack must leave the app's latest version at the path, and nothing else.
func TestPutBack(t *testing.T) {
	for name, tt := range map[string]struct {
		there, here string // what the exchange brought about: at the path, and out
		interfere   string // what the app puts at the path then
		want        string
	}{
		"the app had changed the file":       {"ours", "app", "", "app"},
		"and has replaced what we put there": {"ours", "app", "app2", "app2"},
		"and has removed what we put there":  {"ours", "app", "-", ""},
	} {
		t.Run(name, func(t *testing.T) {
			v, dir := openTest(t)
			write(t, dir, "f", tt.there)
			tmp := v.tempName()
			write(t, dir, ".minio-sidecar/tmp/"+v.tmpName+"/"+tmp, tt.here)
			var mine, out unix.Statx_t
			check(t, unix.Statx(v.root.FD(), "f", 0, unix.STATX_BASIC_STATS, &mine))
			check(t, unix.Statx(v.tmpFD(), tmp, 0, unix.STATX_BASIC_STATS, &out))
			switch tt.interfere {
			case "":
			case "-":
				check(t, os.Remove(dir+"/f"))
			default:
				write(t, dir, "g", tt.interfere)
				check(t, os.Rename(dir+"/g", dir+"/f"))
			}
			v.putBack(tmp, &mine, &out, v.root.FD(), "f")
			got, _ := os.ReadFile(dir + "/f")
			if string(got) != tt.want {
				t.Errorf("%q is at the path, want %q", got, tt.want)
			}
		})
	}
}

// Whatever the moment at which the app renames its file over the path, or
// removes the path, its doing is what stays.
func TestCommitAndRemoveNeverLoseTheAppsChange(t *testing.T) {
	v, dir := openTest(t)
	overtaken := 0
	for i := range 3000 {
		write(t, dir, "f", "v0", "next", "v1")
		was := lookup(t, v, "f").Fingerprint
		// All its own, so that the two race from here on.
		p, err := v.Create(4)
		check(t, err)
		_, err = p.WriteAt([]byte("ours"), 0)
		check(t, err)
		remove, unlink := i%2 == 1, i%4 >= 2
		start := make(chan struct{})
		var app sync.WaitGroup
		app.Go(func() {
			<-start
			if unlink {
				os.Remove(dir + "/f")
			} else {
				os.Rename(dir+"/next", dir+"/f")
			}
		})
		close(start)
		for range rand.IntN(200) { // spread the meeting point
			_ = v.tempName()
		}
		if remove {
			err = v.Remove("f", was)
			p.Discard()
		} else {
			_, err = p.Commit("f", v.Defaults(), &was)
			p.Discard()
		}
		app.Wait()
		if err != nil {
			wantErr(t, err, ErrChanged)
			overtaken++
		}
		got, gone := os.ReadFile(dir + "/f")
		switch {
		case unlink && !errors.Is(gone, os.ErrNotExist):
			t.Fatalf("round %d: the app removed the file, but there is %q (%v)", i, got, err)
		case !unlink && string(got) != "v1":
			t.Fatalf("round %d: the app's v1 is lost: %q (%v)", i, got, err)
		}
		os.Remove(dir + "/f")
	}
	t.Logf("the app was first in %d of 3000 rounds", overtaken)
	if names, _ := os.ReadDir(dir + "/.minio-sidecar/tmp/" + v.tmpName); len(names) != 0 {
		t.Errorf("temporary files are left: %v", names)
	}
}

func TestSymlink(t *testing.T) {
	everyKernel(t, func(t *testing.T, v *Tree, dir string) {
		a := v.Defaults()
		a.Perm, a.MTime = 0o777, entry.Time{Sec: 3}
		for i, target := range []string{"f", "/etc/passwd", "../../..", "self", strings.Repeat("x", 4000), "a\nb", "\xff", ".minio-sidecar/volume"} {
			path := fmt.Sprintf("d/l%d", i)
			l, err := v.Symlink(target, path, a, nil, nil)
			check(t, err)
			if got, _ := os.Readlink(dir + "/" + path); got != target || l.Target != target || l != lookup(t, v, path) {
				t.Errorf("%q: link to %q, returned %+v", target, got, l)
			}
		}
		was := lookup(t, v, "d/l0").Fingerprint
		_, err := v.Symlink("g", "d/l0", a, nil, nil)
		wantErr(t, err, ErrChanged)
		_, err = v.Symlink("g", "d/l0", a, &was, nil)
		check(t, err)
		if got, _ := os.Readlink(dir + "/d/l0"); got != "g" {
			t.Errorf("link to %q", got)
		}
		_, err = v.Symlink("x", "d/l0/below", a, nil, nil)
		wantErr(t, err, ErrBlocked)
		_, err = v.Symlink("x", "d", a, nil, nil)
		wantErr(t, err, ErrBlocked)
		for _, bad := range []string{"", "a\x00b", strings.Repeat("x", 5000)} {
			if _, err := v.Symlink(bad, "bad", a, nil, nil); err == nil {
				t.Errorf("made a link to %d bytes", len(bad))
			}
		}
	})
}

func TestMkdirBlocked(t *testing.T) {
	v, dir := openTest(t)
	outside := t.TempDir()
	check(t, os.Chmod(outside, 0o711))
	write(t, dir, "file", "")
	check(t, os.Symlink(outside, dir+"/link"))
	for _, path := range []string{"file", "file/x", "link", "link/x"} {
		_, err := v.Mkdir(path, v.Defaults())
		wantErr(t, err, ErrBlocked)
	}
	if st, _ := os.Stat(outside); st.Mode().Perm() != 0o711 {
		t.Error("a link's target was changed")
	}
	_, err := v.Mkdir("../x", v.Defaults())
	wantErr(t, err, ErrInvalidKey)
}

// A folder that is made for itself and, at the same time, on the way to a file
// in it has its own attributes in the end.
func TestMkdirBesideItsFirstFile(t *testing.T) {
	v, _ := openTest(t)
	for i := range 300 {
		dir := fmt.Sprintf("folder-%d", i)
		want := entry.Attrs{Perm: 0o711, UID: v.plain.UID, GID: v.plain.GID}
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := v.Mkdir(dir, want); err != nil {
				t.Error(err)
			}
		})
		for _, name := range []string{"a", "b", "c"} {
			group.Go(func() {
				f, err := v.Create(0)
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Discard()
				if _, err := f.Commit(dir+"/"+name, entry.Attrs{Perm: 0o644, UID: want.UID, GID: want.GID}, nil); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if got := lookup(t, v, dir); !got.Attrs.SameDir(want) {
			t.Fatalf("%s: %+v, want %+v", dir, got.Attrs, want)
		}
	}
}
