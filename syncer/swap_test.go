package syncer

import (
	"context"
	"errors"
	"os"
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
