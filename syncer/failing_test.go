package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// rationed is a real bucket with a quota that is exact. (MinIO counts what is in
// a bucket only now and then.)
type rationed struct {
	store.Store
	mu    sync.Mutex
	left  int64
	sizes map[string]int64
}

func (n *node) ration(bytes int64) {
	n.wrap = func(real store.Store) store.Store {
		return &rationed{Store: real, left: bytes, sizes: map[string]int64{}}
	}
}

func (s *rationed) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if strings.Contains(u.Key, contract.Reserved) {
		return s.Store.Upload(ctx, u)
	}
	s.mu.Lock()
	more := u.Size - s.sizes[u.Key]
	if more > s.left {
		s.mu.Unlock()
		return store.Object{}, fmt.Errorf("upload %s: %w", u.Key, store.ErrFull)
	}
	s.left -= more
	s.sizes[u.Key] = u.Size
	s.mu.Unlock()
	return s.Store.Upload(ctx, u)
}

func (s *rationed) Delete(ctx context.Context, key, etag string) error {
	err := s.Store.Delete(ctx, key, etag)
	if err == nil {
		s.mu.Lock()
		s.left += s.sizes[key]
		delete(s.sizes, key)
		s.mu.Unlock()
	}
	return err
}

// TestDeletionsMakeRoom: the quota is reached, and what has to go before there
// is room is among what waits.
func TestDeletionsMakeRoom(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	n.ration(10_000)
	n.start()
	for i := range 4 {
		n.write(fmt.Sprint("old/", i), strings.Repeat("o", 2000))
	}
	n.write("stays", "x")
	n.flush()
	for i := range 3 {
		n.write(fmt.Sprint("new/", i), strings.Repeat("n", 3000))
	}
	n.await("full", func() bool { return condition(n) == status.StoreFull })
	n.remove("old")
	n.flush()
	n.await("well again", func() bool { return condition(n) == status.OK })
	n.verify()
	n.mustStop()
}

// picky fails what is done with some objects.
type picky struct {
	store.Store
	key              string // what theirs begin with, the prefix included
	upload, download error  // nil: it lets them through
	off              atomic.Bool
}

func (s *picky) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if strings.HasPrefix(u.Key, s.key) && s.upload != nil && !s.off.Load() {
		return store.Object{}, fmt.Errorf("upload %s: %w", u.Key, s.upload)
	}
	return s.Store.Upload(ctx, u)
}

func (s *picky) Download(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (store.Object, error) {
	if strings.HasPrefix(key, s.key) && s.download != nil && !s.off.Load() {
		return store.Object{}, fmt.Errorf("download %s: %w", key, s.download)
	}
	return s.Store.Download(ctx, key, etag, size, dst)
}

func (n *node) pick(s *picky) *picky {
	n.wrap = func(real store.Store) store.Store { s.Store = real; return s }
	return s
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

// TestVolumeMakesRoom: a volume that is full of what the bucket has no more gets
// what is there instead, while sync runs and in a restore.
func TestVolumeMakesRoom(t *testing.T) {
	if !rootOnly(t) {
		return
	}
	server := testenv.MinIO(t)
	const mb = 1 << 20
	for name, follow := range map[string]func(b *node, change func()){
		"sync": func(b *node, change func()) {
			b.start()
			change()
		},
		"restore": func(b *node, change func()) {
			change()
			b.restore()
			b.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			a, b := r.node(t), r.node(t, func(c *Config) { c.Mode = contract.ModeReadOnly })
			mountSmall(t, b.dir, "8m")
			b.attendEvery = 200 * time.Millisecond
			a.start()
			a.write("small", "x")
			a.write("old", strings.Repeat("o", 6*mb))
			a.write("renamed/before", strings.Repeat("r", mb))
			a.flush()
			b.restore()
			follow(b, func() {
				a.remove("old")
				a.do(os.Rename(a.path("renamed/before"), a.path("after")))
				a.write("a-new", strings.Repeat("n", 5*mb))
				a.flush()
			})
			b.await("there", func() bool { return slices.Equal(b.files(), []string{"a-new", "after", "small"}) })
			b.await("well", func() bool { return condition(b) == status.OK && b.engine.Status().Pending == 0 })
			a.mustStop()
			b.mustStop()
			b.equals(a)
		})
	}
}

// TestManyFailingPulls: more paths fail than are kept to be tried again. All are
// counted, with the reason; scans and deletions go on; and when there is room
// all come by themselves.
func TestManyFailingPulls(t *testing.T) {
	if !rootOnly(t) {
		return
	}
	const files = 30
	r := newRig(t, testenv.MinIO(t))
	a, b := r.node(t), r.node(t)
	mountSmall(t, b.dir, "4m")
	a.attendEvery, b.attendEvery = 200*time.Millisecond, 200*time.Millisecond
	b.failingMax = 3
	a.start()
	a.fill(5)
	b.restore()
	b.start()
	for i := range files {
		a.write(fmt.Sprintf("large/%02d", i), strings.Repeat("l", 2<<20))
	}
	a.flush()
	counted := func() bool {
		s := b.engine.Status()
		return s.UnsyncableByReason["volume full"] > 0 && s.Pending > 0 && s.Unsyncable+s.Pending >= files-2 && s.Condition == status.VolumeFull
	}
	b.await("counted", counted)
	b.remove("d0/0")
	b.flush() // what does not arrive here is not what it is about
	b.hasKeys(files + 4)
	b.await("counted still", counted)
	remount(t, b.dir, 0, "size=128m")
	b.await("all there", func() bool { return len(b.files()) == files+4 })
	b.await("well again", func() bool {
		s := b.engine.Status()
		return s.Condition == status.OK && s.Pending == 0 && s.Unsyncable == 0
	})
	b.mustStop()
	a.mustStop()
	b.equals(a)
}

// TestManyFailingPushes: of more uploads that fail than are kept to be tried
// again all are counted, with the reason; scans end and deletions go on; and
// when the store takes them all get there by themselves.
func TestManyFailingPushes(t *testing.T) {
	server := testenv.MinIO(t)
	for kind, why := range map[string]error{"store full": store.ErrFull, "denied": store.ErrAccessDenied} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const files = 30
			n := newRig(t, server).node(t)
			n.failingMax = 3
			refuses := n.pick(&picky{key: "app/new/", upload: why})
			n.start()
			n.fill(5)
			for i := range files {
				n.write(fmt.Sprintf("new/%02d", i), "x")
			}
			n.await("counted", func() bool {
				s := n.engine.Status()
				return s.UnsyncableByReason[kind] > 0 && s.Pending > 0 && s.Unsyncable+s.Pending >= files &&
					s.Condition == conditionOf(why)
			})
			n.do(n.engine.scanNow(t.Context()))
			n.remove("d0/0")
			n.await("deleted", func() bool { b, err := n.engine.base.Get("d0/0"); return b == nil && err == nil })
			refuses.off.Store(true)
			n.await("all there", func() bool {
				s := n.engine.Status()
				return s.Condition == status.OK && s.Pending == 0 && s.Unsyncable == 0
			})
			n.hasKeys(files + 4)
			n.mustStop()
			n.verify()
		})
	}
}

// TestRestoreStuckForRoom: so much does not fit into the volume that the listing
// does not get on, and what would make room waits for its end. The restore says
// that the volume is too small.
func TestRestoreStuckForRoom(t *testing.T) {
	if !rootOnly(t) {
		return
	}
	t.Parallel()
	r := newRig(t, testenv.MinIO(t))
	a, b := r.node(t), r.node(t)
	mountSmall(t, b.dir, "4m")
	a.start()
	a.write("a-old", "x")
	a.write("small", "x")
	a.flush()
	b.restore()
	a.remove("a-old")
	for i := range 60 {
		a.write(fmt.Sprintf("large/%02d", i), strings.Repeat("l", 1<<20))
	}
	a.flush()
	a.mustStop()
	e := b.open()
	e.dirty = dirty.New(2, dirty.RestlessAfter)
	ctx, cancel := context.WithTimeout(t.Context(), 2*testPatience)
	defer cancel()
	if err := e.Restore(ctx); !errors.Is(err, tree.ErrFull) {
		t.Errorf("%v", err)
	}
}

// TestFlushBesideAFailingPull: what is written here gets to the bucket, and a
// flush says so, and a stop as well, whatever does not come from there.
func TestFlushBesideAFailingPull(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a, b := r.node(t), r.node(t)
	b.pick(&picky{key: "app/wanted", download: errors.New("input/output error")})
	b.attendEvery = 100 * time.Millisecond
	b.start()
	a.start()
	a.write("wanted", "x")
	a.flush()
	b.await("failing", func() bool { return b.engine.Status().Pending == 1 })
	b.write("written", "x")
	b.flush()
	a.mustStop()
	b.mustStop()
	b.hasKeys(2)
}

// TestPullGivenUp: what could not be brought comes by itself when it can,
// although no other writer is there any more.
func TestPullGivenUp(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a := r.node(t)
	b := r.node(t, func(c *Config) { c.ScanInterval = 300 * time.Millisecond })
	refuses := b.pick(&picky{key: "app/wanted", download: fs.ErrPermission})
	b.attendEvery = 100 * time.Millisecond
	b.start()
	a.start()
	a.write("wanted", "x")
	a.write("wanted-no-more", "x")
	a.mustStop()
	b.await("reported", func() bool { return b.engine.Status().Unsyncable == 2 })
	b.do(r.server.Client(t).RemoveObject(t.Context(), r.bucket, "app/wanted-no-more", removeOptions()))
	b.await("not reported any more", func() bool { return b.engine.Status().Unsyncable == 1 })
	b.await("alone", func() bool { return len(b.engine.Status().OtherWriters) == 0 })
	b.do(b.engine.scanNow(t.Context()))
	if s := b.engine.Status(); s.Unsyncable != 1 {
		t.Errorf("a scan of the volume ended it: %+v", s)
	}
	refuses.off.Store(true)
	b.await("there", func() bool { return len(b.files()) == 1 && b.engine.Status().Unsyncable == 0 })
	b.mustStop()
}

// TestBlockedPullComes: a file became a folder in the bucket, and the file here
// was held for longer than the patience with what is in its way. When it goes,
// what is in the folder comes, although nobody else is there to list for.
func TestBlockedPullComes(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.MinIO(t))
	b := r.node(t)
	b.attendEvery = 100 * time.Millisecond
	b.start()
	b.fill(3)
	b.write("swap", "a file")
	b.flush()
	b.engine.passing(+1) // a scan that takes long: deletions are held meanwhile
	client := r.server.Client(t)
	b.do(client.RemoveObject(t.Context(), r.bucket, "app/swap", removeOptions()))
	_, err := client.Client.PutObject(t.Context(), r.bucket, "app/swap/x", strings.NewReader("x"), 1, putOptions())
	b.do(err)
	b.do(b.engine.pass(t.Context(), "", true)) // as if another writer had been there
	b.await("given up", func() bool { return b.engine.Status().UnsyncableByReason["blocked"] == 1 })
	b.engine.passing(-1)
	b.await("there", func() bool { return slices.Contains(b.files(), "swap/x") && b.engine.Status().Unsyncable == 0 })
	b.mustStop()
	b.verify()
}

// TestRefusedKey: a store that refuses one object is not one that refuses all.
func TestRefusedKey(t *testing.T) {
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		t.Run(method, func(t *testing.T) {
			r := newRig(t, testenv.MinIO(t))
			proxy := r.between(t)
			n := r.node(t)
			n.start()
			n.fill(9)
			proxy.answers(func(w http.ResponseWriter, request *http.Request) bool {
				no := request.Method == method && strings.HasSuffix(request.URL.Path, "/app/refused")
				if no {
					_, _ = io.Copy(io.Discard, request.Body)
					w.WriteHeader(http.StatusForbidden)
					_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`)
				}
				return no
			})
			n.write("refused", "x")
			if method == http.MethodDelete {
				n.flush()
				n.remove("refused")
			}
			n.await("denied", func() bool { return condition(n) == status.AccessDenied })
			for i := range 20 {
				key := fmt.Sprint("other/", i)
				n.write(key, "x")
				n.await("uploaded", func() bool { b, err := n.engine.base.Get(key); return b != nil && err == nil })
				if c := condition(n); c != status.AccessDenied {
					t.Fatalf("condition %s while the object is refused", c)
				}
			}
			n.remove("d0/0") // and deletions do not wait for it
			n.await("deleted", func() bool { b, err := n.engine.base.Get("d0/0"); return b == nil && err == nil })
			if n.logged.count("store does not take part") > 0 {
				t.Error("the store was taken for one that refuses all")
			}
			proxy.honest()
			n.flush()
			n.await("well again", func() bool { return condition(n) == status.OK })
			n.mustStop()
			n.verify()
		})
	}
}

// unsure does not say at first whether it honours conditions.
type unsure struct {
	store.Store
	n        *node
	asked    atomic.Int64
	answered atomic.Bool
}

func (s *unsure) ConditionalWrites(context.Context, string) (bool, error) {
	switch s.asked.Add(1) {
	case 1:
		s.n.write("g", "heard of meanwhile")
		time.Sleep(300 * time.Millisecond)
		fallthrough
	case 2:
		return false, fmt.Errorf("probe: %w", store.ErrUnreachable)
	}
	s.answered.Store(true)
	return false, nil
}

func (s *unsure) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if !s.answered.Load() && !strings.Contains(u.Key, contract.Reserved) {
		s.n.t.Errorf("%s is uploaded before it is known what keeps others from being overwritten", u.Key)
	}
	return s.Store.Upload(ctx, u)
}

func TestConditionsAreKnownFirst(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	n.wrap = func(real store.Store) store.Store { return &unsure{Store: real, n: n} }
	n.write("f", "x")
	n.start()
	n.flush()
	if n.engine.mu.Lock(); !n.engine.lookFirst {
		t.Error("the answer of a store that did not answer at first is not taken")
	}
	n.engine.mu.Unlock()
	n.mustStop()
}

// blind ignores conditions, and does not say so.
type blind struct{ store.Store }

func (s blind) ConditionalWrites(context.Context, string) (bool, error) {
	return false, fmt.Errorf("probe: %w", store.ErrUnreachable)
}

func (s blind) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	u.Condition = store.Condition{}
	return s.Store.Upload(ctx, u)
}

// TestUnsureOfConditions: as long as it is not known whether the store honours
// conditions, nothing is overwritten on the assumption that it does.
func TestUnsureOfConditions(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	n := r.node(t)
	n.wrap = func(real store.Store) store.Store { return blind{real} }
	n.start()
	n.write("contested.txt", "original")
	n.flush()
	_, err := r.server.Client(t).PutObject(t.Context(), r.bucket, contested,
		strings.NewReader(theirs), int64(len(theirs)), "", "", putOptions())
	n.do(err)
	n.write("contested.txt", ours)
	n.flush()
	n.mustStop()
	if got := r.states(t); !slices.Equal(got, []string{theirs, ours}) {
		t.Errorf("the bucket has %q", got)
	}
}

// TestConnectForbidden: what a firewall says to a connection is no word about a
// file, though it is the same.
func TestConnectForbidden(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	forbidden := n.pick(&picky{key: "app/f", upload: fmt.Errorf("%w: %w", store.ErrUnreachable,
		&url.Error{Op: "Put", URL: "http://store", Err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EPERM)}})})
	forbidden.off.Store(true)
	n.start()
	forbidden.off.Store(false)
	n.write("f", "x")
	n.await("unreachable", func() bool { return condition(n) == status.Unreachable })
	if s := n.engine.Status(); s.Unsyncable > 0 || s.Pending != 1 {
		t.Errorf("status: %+v", s)
	}
	forbidden.off.Store(true)
	n.flush()
	n.mustStop()
	n.verify()
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
