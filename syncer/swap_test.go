package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// neverBoth fails the test when a file is uploaded while there is something of
// a folder of that name, or something of a folder while there is the file.
type neverBoth struct {
	store.Store
	t *testing.T
}

func (s *neverBoth) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if !strings.Contains(u.Key, contract.Reserved) {
		for i, c := range u.Key {
			if c != '/' {
				continue
			}
			if _, err := s.Stat(ctx, u.Key[:i]); !errors.Is(err, store.ErrNotFound) {
				s.t.Errorf("%q is uploaded beside %q: %v", u.Key, u.Key[:i], err)
			}
		}
		if !strings.HasSuffix(u.Key, "/") {
			for obj, err := range s.List(ctx, u.Key+"/") {
				s.t.Errorf("%q is uploaded beside %q: %v", u.Key, obj.Key, err)
			}
		}
	}
	return s.Store.Upload(ctx, u)
}

// TestSwap: a file becomes a folder and a folder a file, empty and not. At no
// moment does the bucket have both.
func TestSwap(t *testing.T) {
	a := newRig(t, testenv.MinIO(t)).node(t)
	a.wrap = func(real store.Store) store.Store { return &neverBoth{real, t} }
	a.start()
	a.write("stays", "1")
	a.write("file", "becomes an empty folder")
	a.write("file2", "becomes a folder")
	a.do(os.Mkdir(a.path("folder"), 0o755))
	a.do(os.Mkdir(a.path("folder2"), 0o700))
	a.write("folder2/x", "2")
	a.flush()
	for range 2 {
		for _, p := range []string{"file", "file2", "folder", "folder2"} {
			info, err := os.Stat(a.path(p))
			a.do(err)
			a.remove(p)
			switch {
			case info.IsDir():
				a.write(p, "a file")
			case strings.HasSuffix(p, "2"):
				a.write(p+"/x", "in a folder")
			default:
				a.do(os.Mkdir(a.path(p), 0o755))
			}
		}
		a.flush()
		a.verify()
	}
	a.mustStop()
	b := a.rig.node(t)
	b.restore()
	b.equals(a)
}

// TestSwapKeepsFolderAround: between the deletion of what had the name and the
// upload of what has it now, which may take long, the folder around is still in
// the bucket, though it has nothing else in it.
func TestSwapKeepsFolderAround(t *testing.T) {
	server := testenv.MinIO(t)
	for name, c := range map[string]struct{ before, after string }{
		"a file for a folder":            {"around/name/x", "around/name"},
		"a file for a folder in between": {"around/name/deep/er/x", "around/name"},
		"a folder for a file":            {"around/name", "around/name/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newRig(t, server).node(t)
			gate := &refusing{refuses: func(key string) bool { return key == "app/"+c.after }}
			a.wrap = func(s store.Store) store.Store { gate.Store = s; return gate }
			a.start()
			a.write("stays", "so that this is not everything")
			a.write(c.before, "before")
			a.flush()
			a.remove("around/name")
			a.write(c.after, "after")
			a.await("in between", func() bool { return gate.refused.Load() > 0 })
			around := ""
			for obj, err := range gate.Store.List(t.Context(), "app/around/") {
				a.do(err)
				around += obj.Key + " "
			}
			if around != "app/around/ " {
				t.Errorf("the bucket has %q of the folder around", around)
			}
			gate.honest.Store(true)
			a.flush()
			a.verify()
			a.mustStop()
		})
	}
}

// lastCopy fails the test when an object is deleted that has the last copy of
// what is in it.
type lastCopy struct {
	store.Store
	t       *testing.T
	content string
}

func (s *lastCopy) Delete(ctx context.Context, key, etag string) error {
	holds := func(key string) bool {
		content, _, err := s.Read(ctx, key)
		return err == nil && string(content) == s.content
	}
	if holds(key) {
		copies := 0
		for obj, err := range s.List(ctx, "app/") {
			if err == nil && holds(obj.Key) {
				copies++
			}
		}
		if copies < 2 {
			s.t.Errorf("%q is deleted, and nothing else is there of its content", key)
		}
	}
	return s.Store.Delete(ctx, key, etag)
}

// TestRenamedIntoAPlaceThatIsTaken: the object of a renamed file stays until its
// new name is in the bucket, though something has to go before there is room; or
// for good, as where MinIO keeps versions of a file and takes nothing into a
// folder of that name.
func TestRenamedIntoAPlaceThatIsTaken(t *testing.T) {
	server := testenv.MinIO(t)
	for _, versioned := range []bool{false, true} {
		for name, c := range map[string]struct {
			taken, new string
		}{
			"a file where the folder is to be": {"d", "d/y"},
			"a folder where the file is to be": {"d/z", "d"},
		} {
			t.Run(fmt.Sprintf("%s, versioned %v", name, versioned), func(t *testing.T) {
				t.Parallel()
				r := &rig{server: server, bucket: server.NewBucket(t, versioned), endpoint: server.Endpoint}
				n := r.node(t)
				n.wrap = func(real store.Store) store.Store { return &lastCopy{real, t, "the only copy"} }
				n.start()
				n.write(c.taken, "in the way")
				n.write("x", "the only copy")
				n.write("stays", "1")
				n.flush()
				n.remove("d")
				n.do(os.MkdirAll(filepath.Dir(n.path(c.new)), 0o755))
				n.do(os.Rename(n.path("x"), n.path(c.new)))
				want := []string{c.new, "stays"}
				if versioned && c.new == "d/y" {
					want = []string{"stays", "x"}
					var unsynced *UnsyncedError
					if err := n.stop(); !errors.As(err, &unsynced) || !strings.Contains(err.Error(), "d/y (blocked") {
						t.Errorf("stop: %v", err)
					}
				} else {
					n.flush()
					n.verify()
					n.mustStop()
				}
				if keys := r.keys(t, "app/"); !slices.Equal(keys, want) {
					t.Errorf("the bucket has %q, want %q", keys, want)
				}
			})
		}
	}
}

// TestTradePlaces: files and folders get each other's names. Each waits for the
// other, and yet all get there.
func TestTradePlaces(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	n.wrap = func(real store.Store) store.Store { return &neverBoth{real, t} }
	n.start()
	n.write("a", "was a")
	n.write("b/x", "was b/x")
	n.write("b/y/z", "was b/y/z")
	n.write("into-itself", "1")
	n.write("out/of/itself", "2")
	n.write("stays", "3")
	n.flush()
	move := func(from, to string) {
		t.Helper()
		n.do(os.MkdirAll(filepath.Dir(n.path(to)), 0o755))
		n.do(os.Rename(n.path(from), n.path(to)))
	}
	move("a", "t")
	move("b", "a")
	move("t", "b")
	move("into-itself", "t")
	move("t", "into-itself/x")
	move("out/of/itself", "t")
	n.remove("out")
	move("t", "out")
	n.flush()
	want := []string{"a/x", "a/y/z", "b", "into-itself/x", "out", "stays"}
	if keys := n.rig.keys(t, "app/"); !slices.Equal(keys, want) {
		t.Errorf("the bucket has %q, want %q", keys, want)
	}
	n.verify()
	n.mustStop()
}
