package syncer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// toggling is a store during whose uploads something happens: after the middle
// of the body was read, and just before the commit.
type toggling struct {
	store.Store
	during, before func()
}

func (s *toggling) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	commit := u.Commit
	u.Commit = func() error {
		s.before()
		if commit == nil {
			return nil
		}
		return commit()
	}
	u.Body = &halfway{u.Body, min(u.Size/2, 2*part), sync.OnceFunc(s.during)}
	return s.Store.Upload(ctx, u)
}

// halfway calls during before anything of the second half is read.
type halfway struct {
	io.ReaderAt
	half   int64
	during func()
}

func (h *halfway) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	if first := h.half - off; first > 0 {
		var err error
		n, err = h.ReaderAt.ReadAt(b[:min(first, int64(len(b)))], off)
		if err != nil || n == len(b) {
			return n, err
		}
	}
	h.during()
	m, err := h.ReaderAt.ReadAt(b[n:], off+int64(n))
	return n + m, err
}

// A log whose bytes are others while they are sent, and the old ones again when
// it is asked, is not published: the mixture is no state that it had.
func TestGrowingToggled(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	for kind, size := range map[string]int{"small": small, "in parts": big} {
		n := r.node(t, func(cfg *Config) { cfg.Concurrency = 1 }) // one part after the other
		n.partSize = part
		a, b := bytes.Repeat([]byte("a"), size), bytes.Repeat([]byte("b"), size)
		n.write(kind, string(a))
		f, err := os.OpenFile(n.path(kind), os.O_WRONLY, 0)
		n.do(err)
		defer f.Close()
		all := func(content []byte) func() {
			return func() { _, err := f.WriteAt(content, 0); n.do(err) }
		}
		toggled := &toggling{during: all(b), before: all(a)}
		n.wrap = func(real store.Store) store.Store { toggled.Store = real; return toggled }
		n.open()
		look := func() (bool, error) {
			l, _, _, err := n.engine.tree.Lookup(kind)
			n.do(err)
			_, grew, err := n.engine.uploadGrowing(t.Context(), plan.Item{Key: kind, Local: &l})
			return grew, err
		}
		if grew, err := look(); grew || err != nil {
			t.Fatalf("%s: the first look: %v, %v", kind, grew, err)
		}
		_, err = f.WriteAt([]byte("more"), int64(size))
		n.do(err)
		if _, err := look(); !errors.Is(err, ErrTorn) {
			t.Errorf("%s: %v, want an error that is %q", kind, err, ErrTorn)
		}
		if _, err := n.engine.store.Stat(t.Context(), "app/"+kind); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: published: %v", kind, err)
		}
		_, err = f.WriteAt([]byte("more"), int64(size)+4)
		n.do(err)
		all(a)()
		toggled.during, toggled.before = func() {}, func() {}
		if grew, err := look(); !grew || err != nil {
			t.Errorf("%s: a log: %v, %v", kind, grew, err)
		}
	}
}

// On tmpfs most stores through a mapping leave no trace but in the content.
func TestTornOnTmpfs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a tmpfs")
	}
	r := newRig(t, testenv.MinIO(t))
	for kind, size := range map[string]int{"small": small, "in parts": big} {
		n := r.node(t, func(cfg *Config) { cfg.Concurrency = 1 }) // one part after the other
		n.partSize = part
		n.do(unix.Mount("tmpfs", n.dir, "tmpfs", 0, "size=64m"))
		t.Cleanup(func() { n.do(unix.Unmount(n.dir, unix.MNT_DETACH)) })
		n.write(kind, string(bytes.Repeat([]byte("a"), size)))
		f, err := os.OpenFile(n.path(kind), os.O_RDWR, 0)
		n.do(err)
		mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		n.do(err)
		n.do(f.Close())
		t.Cleanup(func() { n.do(unix.Munmap(mem)) })
		fill := func(c byte) {
			for i := range mem {
				mem[i] = c
			}
		}
		fill('a') // the first store to a page shows in the times
		changing := &toggling{before: func() {}, during: func() { fill('b') }}
		n.wrap = func(real store.Store) store.Store { changing.Store = real; return changing }
		n.open()
		l, _, _, err := n.engine.tree.Lookup(kind)
		n.do(err)
		item := plan.Item{Key: kind, Local: &l}
		if l.Kind != entry.File {
			t.Fatalf("%+v", l)
		}
		if _, err := n.engine.upload(t.Context(), dirty.Work{Key: kind}, item); !errors.Is(err, ErrTorn) {
			t.Errorf("%s: %v, want an error that is %q", kind, err, ErrTorn)
		}
		if _, err := n.engine.store.Stat(t.Context(), "app/"+kind); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: published: %v", kind, err)
		}
		fill('a')
		if err := n.engine.keepLocal(t.Context(), item, "aside", true); !errors.Is(err, ErrTorn) {
			t.Errorf("%s, as a conflict copy: %v, want an error that is %q", kind, err, ErrTorn)
		}
		if _, err := n.engine.store.Stat(t.Context(), "app/aside"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s, as a conflict copy: published: %v", kind, err)
		}
		changing.during = func() {}
		_, err = n.engine.upload(t.Context(), dirty.Work{Key: kind}, item)
		n.do(err)
	}
}
