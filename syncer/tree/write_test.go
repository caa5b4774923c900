package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

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

func TestAttributes(t *testing.T) {
	v, dir := openTest(t)
	root := os.Geteuid() == 0
	times := []entry.Time{{}, {Sec: -1, Nsec: 999999999}, {Sec: -2e9}, {Sec: 1e9, Nsec: 123456789}, {Sec: 4102444800, Nsec: 1}, {Sec: 1 << 33}}
	for i, mtime := range times {
		for _, perm := range []uint32{0o644, 0, 0o777, 0o4755, 0o2755, 0o1777, 0o7777} {
			a := entry.Attrs{Perm: perm, UID: v.plain.UID, GID: v.plain.GID, MTime: mtime}
			if root {
				a.UID, a.GID = 1234, 2345
			}
			path := fmt.Sprintf("f%d-%o", i, perm)
			p, err := v.Create(0)
			check(t, err)
			l, err := p.Commit(path, a, nil)
			check(t, err)
			if l.Attrs != a || l != lookup(t, v, path) {
				t.Errorf("file: set %+v, got %+v", a, l.Attrs)
			}
			l, err = v.Mkdir(path+"-dir", a)
			check(t, err)
			if l.Attrs != a || l.Key != path+"-dir/" || lookup(t, v, l.Key).Attrs != a {
				t.Errorf("folder: set %+v, got %+v", a, l.Attrs)
			}
			a.Perm = 0o777
			l, err = v.Symlink("nowhere/../..", path+"-link", a, nil)
			check(t, err)
			if l.Attrs != a || l != lookup(t, v, path+"-link") {
				t.Errorf("link: set %+v, got %+v", a, l)
			}
		}
	}
	// An existing folder gets new attributes, and keeps what is in it.
	write(t, dir, "full/f", "x")
	a := entry.Attrs{Perm: 0o750, UID: v.plain.UID, GID: v.plain.GID, MTime: entry.Time{Sec: 77}}
	l, err := v.Mkdir("full", a)
	check(t, err)
	if l.Attrs != a || content(t, dir+"/full/f") != "x" {
		t.Errorf("got %+v", l)
	}
}

// Without the right to give files away the rest is still set, and no bit that
// would lend out our own rights.
func TestAttributesUnprivileged(t *testing.T) {
	v, dir := openTest(t)
	if os.Geteuid() != 0 {
		t.Skip("needs to begin as root")
	}
	check(t, os.Chmod(dir, 0o777))
	for p := dir; p != "/"; p = filepath.Dir(p) {
		os.Chmod(p, 0o777)
	}
	check(t, os.Chmod(dir+"/.minio-sidecar/tmp/"+v.tmpName, 0o777))
	check(t, os.Chmod(dir+"/.minio-sidecar/tmp", 0o777))
	unprivileged(t, func() {
		a := entry.Attrs{Perm: 0o6755, UID: 1234, GID: 2345, MTime: entry.Time{Sec: 5, Nsec: 6}}
		p, err := v.Create(0)
		check(t, err)
		l, err := p.Commit("f", a, nil)
		check(t, err)
		if l.Attrs.UID != 65534 || l.Attrs.Perm != 0o755 || l.Attrs.MTime != a.MTime {
			t.Errorf("got %+v", l.Attrs)
		}
		if l, err = v.Mkdir("d", a); err != nil || l.Attrs.UID != 65534 || l.Attrs.Perm&^0o2000 != 0o755 {
			t.Errorf("folder: got %+v, %v", l.Attrs, err)
		}
		if l, err = v.Symlink("x", "l", a, nil); err != nil || l.Attrs.UID != 65534 || l.Attrs.MTime != a.MTime {
			t.Errorf("link: got %+v, %v", l.Attrs, err)
		}
	})
}

func TestSymlink(t *testing.T) {
	everyKernel(t, func(t *testing.T, v *Tree, dir string) {
		a := v.Defaults()
		a.Perm, a.MTime = 0o777, entry.Time{Sec: 3}
		for i, target := range []string{"f", "/etc/passwd", "../../..", "self", strings.Repeat("x", 4000), "a\nb", "\xff", ".minio-sidecar/volume"} {
			path := fmt.Sprintf("d/l%d", i)
			l, err := v.Symlink(target, path, a, nil)
			check(t, err)
			if got, _ := os.Readlink(dir + "/" + path); got != target || l.Target != target || l != lookup(t, v, path) {
				t.Errorf("%q: link to %q, returned %+v", target, got, l)
			}
		}
		was := lookup(t, v, "d/l0").Fingerprint
		_, err := v.Symlink("g", "d/l0", a, nil)
		wantErr(t, err, ErrChanged)
		_, err = v.Symlink("g", "d/l0", a, &was)
		check(t, err)
		if got, _ := os.Readlink(dir + "/d/l0"); got != "g" {
			t.Errorf("link to %q", got)
		}
		_, err = v.Symlink("x", "d/l0/below", a, nil)
		wantErr(t, err, ErrBlocked)
		_, err = v.Symlink("x", "d", a, nil)
		wantErr(t, err, ErrBlocked)
		for _, bad := range []string{"", "a\x00b", strings.Repeat("x", 5000)} {
			if _, err := v.Symlink(bad, "bad", a, nil); err == nil {
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

// The write-protected folder of an app does not stop the syncer, if it is root.
func TestParentsOfSetgidRoot(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		check(t, os.Chown(dir, 0, 2000)) // as the kubelet prepares a volume with fsGroup
	}
	check(t, os.Chmod(dir, 0o777|os.ModeSetgid))
	v := openAt(t, dir)
	_, err := commit(t, v, "a/b/f", "x", nil)
	check(t, err)
	if got := keys(scan(t, v, "")); len(got) != 1 {
		t.Errorf("the folders need objects: %q", got)
	}
	if l := lookup(t, v, "a/b"); l.Attrs.Perm != 0o2755 || l.Attrs.GID != v.self.Gid {
		t.Errorf("folder is %+v", l.Attrs)
	}
}

func TestHoles(t *testing.T) {
	v, dir := openTest(t)
	const size = 8 << 20
	p, err := v.Create(size)
	check(t, err)
	part := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(part)) {
		if off == 3<<20 {
			part[5000] = 1
		} else {
			clear(part)
		}
		n, err := p.WriteAt(part, off)
		if err != nil || n != len(part) {
			t.Fatal(n, err)
		}
	}
	if _, err := p.Commit("sparse", v.Defaults(), nil); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	check(t, unix.Stat(dir+"/sparse", &st))
	if st.Size != size || st.Blocks*512 > 64<<10 {
		t.Errorf("size %d, %d bytes allocated", st.Size, st.Blocks*512)
	}
	want := make([]byte, size)
	want[3<<20+5000] = 1
	if got := content(t, dir+"/sparse"); got != string(want) {
		t.Error("content differs")
	}
}

// Any writes at all, also over one another as when a part is fetched again,
// end in the bytes that were written last, and zeroes elsewhere.
func TestTempHoldsWhatWasWritten(t *testing.T) {
	v, dir := openTest(t)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		size := rapid.IntRange(0, 3<<20).Draw(r, "size")
		p, err := v.Create(int64(size))
		if err != nil {
			r.Fatal(err)
		}
		defer p.Discard()
		want := make([]byte, size)
		for range rapid.IntRange(0, 8).Draw(r, "writes") {
			off := rapid.IntRange(0, size).Draw(r, "off")
			if rapid.Bool().Draw(r, "aligned") {
				off &^= block - 1
			}
			b := want[off:][:rapid.IntRange(0, size-off).Draw(r, "len")]
			fill := byte(rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(r, "fill"))
			for i := range b {
				b[i] = fill
			}
			if len(b) > 0 && rapid.Bool().Draw(r, "speck") {
				b[rapid.IntRange(0, len(b)-1).Draw(r, "where")] ^= 3
			}
			if got, err := p.WriteAt(b, int64(off)); err != nil || got != len(b) {
				r.Fatal(got, err)
			}
		}
		got := make([]byte, size+10)
		if k, err := p.ReadAt(got, 0); k != size || err != io.EOF || !bytes.Equal(got[:k], want) {
			r.Fatalf("before: read %d bytes of %d, %v", k, size, err)
		}
		n++
		path := fmt.Sprintf("f%d", n)
		if _, err := p.Commit(path, v.Defaults(), nil); err != nil {
			r.Fatal(err)
		}
		if b, err := os.ReadFile(dir + "/" + path); err != nil || !bytes.Equal(b, want) {
			r.Fatalf("after: %d bytes of %d differ, %v", len(b), size, err)
		}
		os.Remove(dir + "/" + path)
	})
}

func TestTempKeepsItsSize(t *testing.T) {
	v, _ := openTest(t)
	p, err := v.Create(10)
	check(t, err)
	defer p.Discard()
	for _, tt := range []struct{ n, off int64 }{{11, 0}, {1, 10}, {1, -1}, {5, 6}} {
		if _, err := p.WriteAt(make([]byte, tt.n), tt.off); err == nil {
			t.Errorf("wrote %d bytes at %d of 10", tt.n, tt.off)
		}
	}
	if _, err := v.Create(-1); err == nil {
		t.Error("made a file of negative size")
	}
}

func TestFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m,nr_inodes=40"); err != nil {
		t.Skip("may not mount:", err)
	}
	t.Cleanup(func() { check(t, unix.Unmount(dir, 0)) })
	v, err := Open(dir)
	check(t, err)
	defer v.Close()

	p, err := v.Create(2 << 20)
	check(t, err)
	_, err = p.WriteAt(bytes.Repeat([]byte{1}, 2<<20), 0)
	wantErr(t, err, ErrFull)
	check(t, p.Discard())
	if got := scan(t, v, ""); len(got) != 0 {
		t.Errorf("left %q", keys(got))
	}
	// And out of inodes, wherever that strikes.
	for i := 0; ; i++ {
		if i > 100 {
			t.Fatal("never full")
		}
		p, err := v.Create(0)
		if err == nil {
			_, err = p.Commit(fmt.Sprintf("d%d/f", i), v.Defaults(), nil)
			check(t, p.Discard())
		}
		if err != nil {
			wantErr(t, err, ErrFull)
			break
		}
	}
}

func TestRemove(t *testing.T) {
	everyKernel(t, func(t *testing.T, v *Tree, dir string) {
		write(t, dir, "f", "x", "d/e/", "", "full/f", "x")
		check(t, os.Symlink("full", dir+"/link"))
		folder := entry.Fingerprint{Kind: entry.Dir}
		f := lookup(t, v, "f").Fingerprint
		check(t, v.Remove("f", f))
		check(t, v.Remove("f", f)) // gone already
		check(t, v.Remove("none/none", f))
		check(t, v.Remove("link/f", f)) // nothing is there: links are not traversed
		wantErr(t, v.Remove("full/", folder), ErrNotEmpty)
		wantErr(t, v.Remove("full/f", f), ErrChanged)
		wantErr(t, v.Remove("full", f), ErrChanged)
		wantErr(t, v.Remove("full/f/", folder), ErrChanged)
		wantErr(t, v.Remove("link/", folder), ErrChanged)
		check(t, v.Remove("d/e/", folder))
		check(t, v.Remove("link", lookup(t, v, "link").Fingerprint))
		if content(t, dir+"/full/f") != "x" {
			t.Error("the link was followed")
		}
		wantErr(t, v.Remove("../x", f), ErrInvalidKey)
		wantErr(t, v.Remove(".minio-sidecar/volume", f), ErrInvalidKey)
	})
}

func TestPruneParents(t *testing.T) {
	v, dir := openTest(t)
	write(t, dir, "a/b/c/d/", "", "a/f", "", "k/l/m/", "")
	var asked []string
	never := func(key string) bool { asked = append(asked, key); return false }
	check(t, v.PruneParents("a/b/c/d/gone", never))
	if got := keys(scan(t, v, "a/")); len(got) != 1 || got[0] != "a/f" {
		t.Errorf("left %q", got)
	}
	if want := "a/b/c/d/ a/b/c/ a/b/ a/"; strings.Join(asked, " ") != want {
		t.Errorf("asked for %q", asked)
	}
	check(t, v.PruneParents("k/l/m/gone", func(key string) bool { return key == "k/l/" }))
	if got := keys(scan(t, v, "k/")); len(got) != 1 || got[0] != "k/l/" {
		t.Errorf("left %q", got)
	}
	check(t, v.PruneParents("top", never))
	check(t, v.PruneParents("no/such/folder", never))
}

func TestMoveAside(t *testing.T) {
	everyKernel(t, func(t *testing.T, v *Tree, dir string) {
		write(t, dir, "f", "x", "taken", "y", "d/in/f", "z")
		l, err := v.MoveAside("f", "new/g")
		check(t, err)
		if l != lookup(t, v, "new/g") || content(t, dir+"/new/g") != "x" {
			t.Errorf("got %+v", l)
		}
		_, err = v.MoveAside("new/g", "taken")
		wantErr(t, err, ErrChanged)
		_, err = v.MoveAside("none", "free")
		wantErr(t, err, ErrChanged)
		_, err = v.MoveAside("none/none", "free")
		wantErr(t, err, ErrChanged)
		_, err = v.MoveAside("new/g", "taken/x")
		wantErr(t, err, ErrBlocked)
		if l, err = v.MoveAside("d", "e"); err != nil || l.Key != "e/" || content(t, dir+"/e/in/f") != "z" {
			t.Errorf("folder: %+v %v", l, err)
		}
		if content(t, dir+"/taken") != "y" || content(t, dir+"/new/g") != "x" {
			t.Error("something was overwritten")
		}
	})
}

// Commits and prunings that meet in one folder do not fail each other.
func TestParentsVanishWhileWriting(t *testing.T) {
	v, _ := openTest(t)
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range 300 {
				path := fmt.Sprintf("a/b/c/f%d", w)
				p, err := v.Create(0)
				if err != nil {
					t.Error(err)
					return
				}
				l, err := p.Commit(path, v.Defaults(), nil)
				if err != nil {
					t.Errorf("round %d: %v", i, err)
					p.Discard()
					return
				}
				err = errors.Join(v.Remove(path, l.Fingerprint), v.PruneParents(path, func(string) bool { return false }))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
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
