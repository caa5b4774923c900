package syncer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// TestManyRenamedInAFullStore: of renamed files whose uploads fail, as many as can
// be remembered keep their objects. Those of the others go, because they cannot be
// told from deletions, which may be what makes room. All arrive when there is room.
func TestManyRenamedInAFullStore(t *testing.T) {
	t.Parallel() // deletions wait for what fails
	const files, limit = 12, 5
	n := newRig(t, testenv.MinIO(t)).node(t)
	full := n.pick(&picky{key: "app/new/", upload: store.ErrFull})
	n.start()
	n.fill(40)
	for i := range files {
		n.write(fmt.Sprint("old/", i), "the only copy")
	}
	n.flush()
	n.engine.unsent.max = limit
	n.do(os.Rename(n.path("old"), n.path("new")))
	olds := func() (count int) {
		for _, key := range n.rig.keys(t, "app/") {
			if strings.HasPrefix(key, "old/") {
				count++
			}
		}
		return count
	}
	n.await("down to the limit", func() bool { return olds() == limit })
	n.do(n.engine.scanNow(t.Context()))
	n.do(n.engine.scanNow(t.Context()))
	if got := olds(); got != limit || condition(n) != status.StoreFull {
		t.Errorf("%d objects are kept under their old names, want %d; %s", got, limit, n.told())
	}
	full.off.Store(true)
	n.flush()
	n.await("under their new names", func() bool { return olds() == 0 && n.engine.Status().Pending == 0 })
	n.hasKeys(40 + files)
	n.mustStop()
	n.verify()
}

// TestRenamedWhileFailing: an upload fails without end. Other deletions do not
// wait for it; that of the same file's old name does, however often it is looked
// at, and across a restart.
func TestRenamedWhileFailing(t *testing.T) {
	server := testenv.MinIO(t)
	for name, why := range map[string]error{
		"for now":                  errors.New("input/output error"),
		"for its name":             store.ErrKeyRejected,
		"for want of a permission": fs.ErrPermission,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newRig(t, server).node(t)
			new := n.pick(&picky{key: "app/renamed", upload: why})
			n.start()
			n.write("file", "the only copy")
			for i := range 3 {
				n.write(fmt.Sprint("other", i), "x")
			}
			n.flush()
			n.do(os.Rename(n.path("file"), n.path("renamed")))
			gone := func(key string) func() bool {
				return func() bool { return !slices.Contains(n.rig.keys(t, "app/"), key) }
			}
			for i := range 3 {
				n.remove(fmt.Sprint("other", i))
				n.await("deleted", gone(fmt.Sprint("other", i)))
				n.do(n.engine.scanNow(t.Context()))
			}
			n.await("told", func() bool {
				s := n.engine.Status()
				return slices.ContainsFunc(append(s.PendingPaths, s.UnsyncablePaths...), func(p status.PathReason) bool {
					return p.Path == "file" && strings.Contains(p.Reason, "renamed")
				})
			})
			n.hasKeys(1)
			if err := n.stopWithin(2 * time.Second); err == nil || !strings.Contains(err.Error(), "renamed (") {
				t.Errorf("stop: %v, want an error that names the file", err)
			}
			n.hasKeys(1)
			n.config.FlushTimeout = testPatience
			n.start()
			n.do(n.engine.scanNow(t.Context()))
			n.await("told again", func() bool { return strings.Contains(fmt.Sprint(n.engine.Status()), "renamed") })
			n.do(os.Rename(n.path("renamed"), n.path("renamed-again")))
			n.await("told of the other name", func() bool {
				return strings.Contains(fmt.Sprint(n.engine.Status()), "renamed-again")
			})
			n.do(n.engine.scanNow(t.Context()))
			n.hasKeys(1)
			new.off.Store(true)
			n.do(os.Chtimes(n.path("renamed-again"), time.Now(), time.Now())) // what cannot be synced is not tried by itself
			n.flush()
			n.await("under its new name alone", func() bool {
				return slices.Equal(n.rig.keys(t, "app/"), []string{"renamed-again"})
			})
			n.mustStop()
			n.verify()
		})
	}
}

// A file that only has the inode of a deleted one does not keep that one's object.
func TestUnsentIsNoReuse(t *testing.T) {
	at := func(sec int64) entry.Time { return entry.Time{Sec: sec} }
	base := entry.Base{Key: "old", Local: entry.Fingerprint{Inode: 7, CTime: at(100)}}
	u := newUnsent()
	for born, want := range map[int64]string{0: "new", 50: "new", 100: "new", 101: ""} {
		u.note("new", 7, at(born))
		if got := u.nameNow(base); got != want {
			t.Errorf("born at %d: %q", born, got)
		}
	}
	u.note("new", 7, at(50))
	if u.nameNow(entry.Base{Key: "turned"}) != "" || u.nameNow(entry.Base{Key: "new", Local: base.Local}) != "" {
		t.Error("it is not renamed")
	}
	if u.nameNow(base); !slices.Equal(u.drop("new"), []string{"old"}) || u.nameNow(base) != "" || u.drop("new") != nil {
		t.Error("it is not forgotten")
	}
	u.note("new", 7, at(50))
	u.note("new", 8, at(50)) // replaced
	if u.nameNow(base) != "" {
		t.Error("it has another inode")
	}
}

// TestBorn: a rename keeps the time of birth, which is no later than that of
// the last change.
func TestBorn(t *testing.T) {
	n := (&rig{}).node(t)
	n.write("a", "x")
	tr, err := tree.Open(n.dir)
	n.do(err)
	defer tr.Close()
	born := tr.Born("a")
	if (born == entry.Time{}) {
		t.Log("this file system does not say when a file was made")
		return
	}
	n.do(os.Rename(n.path("a"), n.path("b")))
	l, _, _, err := tr.Lookup("b")
	n.do(err)
	if tr.Born("b") != born || l.CTime.Before(born) || tr.Born("a") != (entry.Time{}) {
		t.Errorf("born at %v, then at %v, changed at %v", born, tr.Born("b"), l.CTime)
	}
}
