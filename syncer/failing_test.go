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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

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
