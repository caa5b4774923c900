package tree

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// openTest opens a fresh volume.
func openTest(t *testing.T) (*Tree, string) {
	t.Helper()
	dir := t.TempDir()
	// t.TempDir makes 0755 or less by umask; the defaults go by the owner only.
	return openAt(t, dir), dir
}

func openAt(t *testing.T, dir string) *Tree {
	t.Helper()
	v, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// write makes the files (path, content) and, for paths that end in '/', folders.
func write(t *testing.T, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if strings.HasSuffix(files[i], "/") {
			check(t, os.MkdirAll(path, 0o755))
			continue
		}
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(files[i+1]), 0o644))
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return string(b)
}

func lookup(t *testing.T, v *Tree, path string) entry.Local {
	t.Helper()
	l, _, ok, err := v.Lookup(path)
	check(t, err)
	if !ok {
		t.Fatalf("nothing at %s", path)
	}
	return l
}

// unprivileged runs f without the right to override permissions.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	// The file system uid is the thread's own, and takes the capabilities
	// that override permissions with it. The thread is not used again.
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		unix.SetfsuidRetUid(65534)
		if got, _ := unix.SetfsuidRetUid(-1); got != 65534 {
			t.Error("cannot drop the file system uid")
			return
		}
		f()
	}()
	<-done
}

func TestOpenMakesReservedFolder(t *testing.T) {
	v, dir := openTest(t)
	st, err := os.Stat(dir + "/.minio-sidecar/tmp")
	check(t, err)
	if st.Mode().Perm() != 0o700 {
		t.Errorf("tmp has mode %v", st.Mode())
	}
	id, err := v.VolumeID()
	check(t, err)
	check(t, v.Close())
	again := openAt(t, dir)
	if same, err := again.VolumeID(); err != nil || same != id {
		t.Errorf("identity was %s, is %s after opening again (%v)", id, same, err)
	}
}

func TestOpenNeedsADirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "")
	for _, path := range []string{dir + "/none", dir + "/file"} {
		if v, err := Open(path); err == nil {
			v.Close()
			t.Errorf("opened %s", path)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not name %s: %v", path, err)
		}
	}
}

// The app can put anything where the reserved folder was, or is to be.
func TestOpenFollowsNoPlantedLink(t *testing.T) {
	for _, planted := range []string{".minio-sidecar", ".minio-sidecar/tmp", ".minio-sidecar/volume"} {
		t.Run(planted, func(t *testing.T) {
			dir, victim := t.TempDir(), t.TempDir()
			write(t, victim, "precious", "x", "id", "stolen id\n")
			check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, planted)), 0o755))
			target := victim
			if strings.HasSuffix(planted, "volume") {
				target += "/id"
			}
			check(t, os.Symlink(target, filepath.Join(dir, planted)))
			v, err := Open(dir)
			if err == nil {
				v.Close()
				t.Error("the volume was opened through a symbolic link")
			}
			names, _ := os.ReadDir(victim)
			if len(names) != 2 || content(t, victim+"/id") != "stolen id\n" {
				t.Errorf("the link's target was touched: %v", names)
			}
		})
	}
}

func TestLeftoversAreRemovedAndLiveOnesAreNot(t *testing.T) {
	v, dir := openTest(t)
	live, err := v.Create(1)
	check(t, err)
	defer live.Discard()
	// As left by a process that was killed: its folder, and its lock gone.
	write(t, dir, ".minio-sidecar/tmp/crashed/1", "x", ".minio-sidecar/tmp/crashed/2", "y", ".minio-sidecar/tmp/stray", "z")
	check(t, os.Symlink("/", dir+"/.minio-sidecar/tmp/crashed/3"))

	openAt(t, dir)
	if _, err := os.Lstat(dir + "/.minio-sidecar/tmp/crashed"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the crashed process's folder is still there: %v", err)
	}
	if _, err := os.Lstat(dir + "/.minio-sidecar/tmp/stray"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stray file is still there: %v", err)
	}
	if _, err := live.Commit("file", v.Defaults(), nil); err != nil {
		t.Errorf("a second process took the first one's temporary file: %v", err)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	v, dir := openTest(t)
	if _, err := v.Create(10); err != nil {
		t.Fatal(err)
	}
	check(t, v.Close())
	if names, _ := os.ReadDir(dir + "/.minio-sidecar/tmp"); len(names) != 0 {
		t.Errorf("left in tmp: %v", names)
	}
}

func TestVolumeIDNoticesAnotherVolume(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, dir string)
	}{
		{"emptied", func(t *testing.T, dir string) {
			check(t, os.RemoveAll(dir))
			check(t, os.Mkdir(dir, 0o755))
		}},
		{"renamed", func(t *testing.T, dir string) { check(t, os.Rename(dir, dir+".old")) }},
		{"replaced by an empty folder", func(t *testing.T, dir string) {
			check(t, os.Rename(dir, dir+".old"))
			check(t, os.Mkdir(dir, 0o755))
		}},
		{"replaced by another volume", func(t *testing.T, dir string) {
			check(t, os.Rename(dir, dir+".old"))
			check(t, os.Mkdir(dir, 0o755))
			openAt(t, dir)
		}},
		{"given another identity", func(t *testing.T, dir string) {
			check(t, os.RemoveAll(dir+"/.minio-sidecar"))
			openAt(t, dir)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir() + "/volume"
			check(t, os.Mkdir(dir, 0o755))
			v := openAt(t, dir)
			write(t, dir, "a/b", "x")
			id, err := v.VolumeID()
			check(t, err)
			tt.do(t, dir)
			if now, err := v.VolumeID(); now != "" {
				t.Errorf("identity %s, was %s", now, id)
			} else {
				wantErr(t, err, ErrReplaced)
			}
			var last error
			for _, err := range v.Scan(t.Context(), "") {
				last = err
			}
			wantErr(t, last, ErrReplaced)
		})
	}
}

// A power cut may tear or lose what was written under the boot before.
func TestAnotherBootIsAnotherVolume(t *testing.T) {
	v, dir := openTest(t)
	id, err := v.VolumeID()
	check(t, err)
	check(t, v.Close())
	check(t, os.WriteFile(dir+"/.minio-sidecar/volume", []byte(id+" another-boot\n"), 0o644))
	v = openAt(t, dir)
	if now, err := v.VolumeID(); err != nil || now == id {
		t.Errorf("identity after a reboot is %s, was %s (%v)", now, id, err)
	}
}

func TestFree(t *testing.T) {
	v, _ := openTest(t)
	if n, err := v.Free(); err != nil || n <= 0 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestRootAndDefaults(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		check(t, os.Chown(dir, 1234, 2345))
	}
	v := openAt(t, dir)
	root, err := v.Root()
	check(t, err)
	d := v.Defaults()
	if d.Perm != DefaultDirPerm || d.UID != root.Attrs.UID || d.GID != root.Attrs.GID {
		t.Errorf("defaults %+v, root %+v", d, root.Attrs)
	}
	if v.Path() != dir {
		t.Errorf("path %s, want %s", v.Path(), dir)
	}
}

func keys(locals []entry.Local) []string {
	var all []string
	for _, l := range locals {
		all = append(all, l.Key)
	}
	return all
}

func scan(t *testing.T, v *Tree, dir string) []entry.Local {
	t.Helper()
	var all []entry.Local
	for l, err := range v.Scan(t.Context(), dir) {
		check(t, err)
		all = append(all, l)
	}
	if !slices.IsSorted(keys(all)) {
		t.Fatalf("not in key order: %q", keys(all))
	}
	return all
}
