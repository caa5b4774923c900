package tree

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

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
			l, err = v.Symlink("nowhere/../..", path+"-link", a, nil, nil)
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
		t.Skip("needs root: it gives files away")
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
		if l, err = v.Symlink("x", "l", a, nil, nil); err != nil || l.Attrs.UID != 65534 || l.Attrs.MTime != a.MTime {
			t.Errorf("link: got %+v, %v", l.Attrs, err)
		}
	})
}

// A folder that its owner may not write into, which is ours, is no obstacle, and
// has its mode afterwards. One that is not ours is.
func TestReadOnlyFolders(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it gives files away")
	}
	v, dir := openTest(t)
	for _, p := range []string{dir, dir + "/.minio-sidecar/tmp/" + v.tmpName, dir + "/.minio-sidecar/tmp"} {
		check(t, os.Chmod(p, 0o777))
	}
	for p := filepath.Dir(dir); p != "/"; p = filepath.Dir(p) {
		os.Chmod(p, 0o755)
	}
	for _, name := range []string{"ours", "ours/sub", "others"} {
		check(t, os.Mkdir(dir+"/"+name, 0o755))
	}
	check(t, os.Chown(dir+"/ours", 65534, 65534))
	check(t, os.Chown(dir+"/ours/sub", 65534, 65534))
	for _, name := range []string{"ours/sub", "ours", "others"} {
		check(t, os.Chmod(dir+"/"+name, 0o555))
	}
	unprivileged(t, func() {
		l, err := commit(t, v, "ours/f", "1", nil)
		check(t, err)
		l, err = commit(t, v, "ours/f", "2", &l.Fingerprint)
		check(t, err)
		g, err := commit(t, v, "ours/sub/made/g", "3", nil)
		check(t, err)
		check(t, v.Remove("ours/sub/made/g", g.Fingerprint))
		check(t, v.Remove("ours/sub/made/", entry.Fingerprint{Kind: entry.Dir}))
		_, err = v.MoveAside("ours/f", "ours/sub/f")
		check(t, err)
		if _, err = v.Mkdir("ours/sub/d", v.Defaults()); err != nil {
			t.Error(err)
		}
		_, err = commit(t, v, "others/f", "4", nil)
		wantErr(t, err, os.ErrPermission)
	})
	for _, name := range []string{"ours", "ours/sub", "others"} {
		if st, err := os.Stat(dir + "/" + name); err != nil || st.Mode().Perm() != 0o555 {
			t.Errorf("%s: mode %v, %v", name, st.Mode(), err)
		}
	}
	if b, err := os.ReadFile(dir + "/ours/sub/f"); err != nil || string(b) != "2" {
		t.Errorf("%q, %v", b, err)
	}
}

// The kubelet gives the root of a volume with fsGroup the setgid bit, which
// Linux hands down: such folders are plain ones there.
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
