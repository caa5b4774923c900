package tree

import (
	"os"
	"sync"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// The app may remove anything in its volume. What is the syncer's there is put
// back, and the volume stays the one it was.
func TestReservedFolderIsPutBack(t *testing.T) {
	tests := map[string]func(t *testing.T, dir string){
		"removed with all else": func(t *testing.T, dir string) {
			names, err := os.ReadDir(dir)
			check(t, err)
			for _, name := range names {
				check(t, os.RemoveAll(dir+"/"+name.Name()))
			}
		},
		"moved away":       func(t *testing.T, dir string) { check(t, os.Rename(dir+"/.minio-sidecar", dir+"/mine")) },
		"identity removed": func(t *testing.T, dir string) { check(t, os.Remove(dir+"/.minio-sidecar/volume")) },
		"identity damaged": func(t *testing.T, dir string) {
			check(t, os.WriteFile(dir+"/.minio-sidecar/volume", []byte("half"), 0o644))
		},
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			v, dir := openTest(t)
			write(t, dir, "a/b", "x")
			id, err := v.VolumeID()
			check(t, err)
			if n := v.Mended(); n != 0 {
				t.Errorf("put back %d times before anything was removed", n)
			}
			do(t, dir)
			var scans sync.WaitGroup
			for range 8 {
				scans.Go(func() {
					for _, err := range v.Scan(t.Context(), "") {
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			scans.Wait()
			if n := v.Mended(); n != 1 {
				t.Errorf("put back %d times, want once", n)
			}
			if now, err := v.VolumeID(); err != nil || now != id {
				t.Errorf("identity %s (%v), was %s", now, err, id)
			}
			writable(t, v)
			check(t, v.Close())
			if again := openAt(t, dir); again.id != id {
				t.Errorf("opened anew, the identity is %s, was %s", again.id, id)
			}
		})
	}
}

// The folder for temporary files goes while one is in it.
func TestTemporaryFolderIsPutBack(t *testing.T) {
	v, dir := openTest(t)
	write(t, dir, "old", "x")
	old, _, ok, err := v.Lookup("old")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	steps := map[string]func() error{
		"commit": func() error {
			p, err := v.Create(3)
			check(t, err)
			defer p.Discard()
			check(t, os.RemoveAll(dir+"/.minio-sidecar/tmp"))
			_, err = p.Commit("new", entry.Attrs{Perm: 0o644}, nil)
			return err
		},
		"create": func() error {
			check(t, os.RemoveAll(dir+"/.minio-sidecar/tmp"))
			_, err := v.Create(3)
			return err
		},
		"link": func() error {
			check(t, os.RemoveAll(dir+"/.minio-sidecar"))
			_, err := v.Symlink("old", "link", entry.Attrs{Perm: 0o777}, nil, nil)
			return err
		},
		"remove": func() error {
			check(t, os.RemoveAll(dir+"/.minio-sidecar/tmp"))
			return v.Remove("old", old.Fingerprint)
		},
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			wantErr(t, step(), ErrChanged) // look again
			writable(t, v)
		})
	}
	if got, err := os.ReadFile(dir + "/old"); err != nil || string(got) != "x" {
		t.Errorf("what was not removed is %q, %v", got, err)
	}
}

// A link in place of the reserved folder could lead the syncer anywhere.
func TestReservedFolderIsNoLink(t *testing.T) {
	v, dir := openTest(t)
	outside := t.TempDir()
	check(t, os.RemoveAll(dir+"/.minio-sidecar"))
	check(t, os.Symlink(outside, dir+"/.minio-sidecar"))
	if _, err := v.VolumeID(); err == nil {
		t.Error("a link was taken for the reserved folder")
	}
	if _, err := v.Create(1); err == nil {
		t.Error("a temporary file was made below a link")
	}
	if names, _ := os.ReadDir(outside); len(names) != 0 {
		t.Errorf("made outside: %v", names)
	}
}

func writable(t *testing.T, v *Tree) {
	t.Helper()
	p, err := v.Create(1)
	check(t, err)
	_, err = p.WriteAt([]byte("y"), 0)
	check(t, err)
	path := "written/" + v.tempName()
	_, err = p.Commit(path, entry.Attrs{Perm: 0o644}, nil)
	check(t, err)
	if got, err := os.ReadFile(v.Path() + "/" + path); err != nil || string(got) != "y" {
		t.Errorf("%q, %v", got, err)
	}
}
