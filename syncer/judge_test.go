package syncer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

func (n *node) empty() {
	n.t.Helper()
	for i := range 3 {
		n.remove(fmt.Sprint("d", i))
	}
}

// TestConfirmationEnds: who confirms means what is gone at that time. It does
// not let go what is gone hours later, however the flush that brought it ended.
func TestConfirmationEnds(t *testing.T) {
	server := testenv.MinIO(t)
	for name, flush := range map[string]func(*node) error{
		"nothing was held": func(n *node) error { return n.engine.Flush(n.t.Context(), true) },
		"it was given up": func(n *node) error {
			ctx, cancel := context.WithCancel(n.t.Context())
			cancel()
			if err := n.engine.Flush(ctx, true); err == nil {
				return errors.New("it was not given up")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newRig(t, server).node(t)
			n.start()
			n.fill(15)
			n.do(flush(n))
			n.empty()
			n.await("halted", func() bool { return condition(n) == status.Halted })
			n.hasKeys(15)
			ctx, cancel := context.WithTimeout(t.Context(), testPatience)
			defer cancel()
			n.do(n.engine.Flush(ctx, true))
			n.hasKeys(0)
			n.mustStop()
		})
	}
}

// TestConfirmationLasts: what the scan of the flush finds is confirmed, though
// something else was let go before.
func TestConfirmationLasts(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	n.start()
	n.fill(15)
	n.write("one", "x")
	n.flush()
	n.engine.confirm(+1) // as a flush does at the end of its scan
	defer n.engine.confirm(-1)
	n.remove("one")
	n.await("one gone", func() bool { b, err := n.engine.base.Get("one"); return b == nil && err == nil })
	n.empty()
	n.await("all gone", func() bool { return n.engine.base.Len() == 0 })
	n.mustStop()
}

// TestGuardLooksAtWhatIsShown: what a pattern hides does not make the loss of
// all the others look small.
func TestGuardLooksAtWhatIsShown(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	n.start()
	for i := range 100 {
		n.write(fmt.Sprint("hidden/", i), "x")
	}
	n.fill(30)
	n.mustStop()
	n.config.Exclude = []string{"hidden"}
	n.start()
	n.empty()
	n.await("halted", func() bool { return condition(n) == status.Halted })
	n.hasKeys(130)
	var unsynced *UnsyncedError
	if err := n.stop(); !errors.As(err, &unsynced) || unsynced.Halted < 30 {
		t.Errorf("stop with held deletions: %v", err)
	}
	n.hasKeys(130)
}

// TestHalfAListingIsNotJudged: of a listing that breaks off, what it found to be
// gone is neither deleted nor taken for all there is.
func TestHalfAListingIsNotJudged(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a := r.node(t)
	a.start()
	a.fill(200)
	a.mustStop()
	proxy := r.between(t)
	b := r.node(t, func(c *Config) { c.Mode = contract.ModeReadOnly })
	b.attendEvery = 100 * time.Millisecond
	b.restore()
	b.start()
	half(proxy, http.StatusServiceUnavailable)
	client := r.server.Client(t)
	for i := range 200 {
		if i/3%3 > 0 { // two thirds of all: of half of it no more than a third
			b.do(client.RemoveObject(t.Context(), r.bucket, fmt.Sprintf("app/d%d/%d", i%3, i), removeOptions()))
		}
	}
	b.await("found", func() bool { return b.engine.dirty.Held().Keys > 0 })
	b.listsAgain(proxy, 3)
	b.hasFiles(200)
	proxy.honest()
	b.await("halted", func() bool { return condition(b) == status.Halted })
	b.hasFiles(200)
	b.mustStop()
}

// asked counts the questions about files, and about damage to them.
type asked struct {
	store.Store
	times atomic.Int64
}

func (s *asked) Stat(ctx context.Context, key string) (store.Object, error) {
	if strings.HasPrefix(key, "app/d") || strings.Contains(key, contract.DamagedPrefix) {
		s.times.Add(1)
	}
	return s.Store.Stat(ctx, key)
}

// TestHaltedBesideListings: deletions that are held back cost no request each
// time that the bucket is listed.
func TestHaltedBesideListings(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a := r.node(t)
	a.lay(30)
	a.start()
	a.flush()
	a.mustStop()
	b := r.node(t, func(c *Config) { c.Mode = contract.ModeReadOnly })
	b.attendEvery = time.Hour
	s := &asked{}
	b.wrap = func(real store.Store) store.Store { s.Store = real; return s }
	b.restore()
	b.start()
	for _, key := range r.keys(t, "app/") {
		b.do(r.server.Client(t).RemoveObject(t.Context(), r.bucket, "app/"+key, removeOptions()))
	}
	b.do(b.engine.pass(t.Context(), "", true))
	b.await("halted", func() bool { return b.engine.Status().HaltedDeletes == 30 })
	before := s.times.Load()
	for range 3 {
		b.do(b.engine.pass(t.Context(), "", true))
	}
	if n := s.times.Load() - before; n > 0 {
		t.Errorf("%d requests for deletions that are known and held", n)
	}
	b.hasFiles(30)
	b.mustStop()
}

// slowLists takes longer for a listing than it is to the next.
type slowLists struct{ store.Store }

func (s *slowLists) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	if prefix == "app/" {
		_ = sleep(ctx, time.Second)
	}
	return s.Store.List(ctx, prefix)
}

// TestDeletionsBesideSlowListings: while another writer is there, and a listing
// takes its time, deletions have their turn.
func TestDeletionsBesideSlowListings(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a, b := r.node(t), r.node(t)
	a.wrap = func(real store.Store) store.Store { return &slowLists{real} }
	a.attendEvery, b.attendEvery = 500*time.Millisecond, 500*time.Millisecond
	a.start()
	a.fill(9)
	b.start()
	a.await("not alone", func() bool { return len(a.engine.Status().OtherWriters) == 1 })
	a.remove("d0/0")
	a.flush()
	a.hasKeys(8)
	a.mustStop()
	b.mustStop()
}

// gated has the upload of some objects wait until it may go on.
type gated struct {
	store.Store
	gates   map[string]chan struct{} // by key
	arrived chan string
}

func (s *gated) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if gate := s.gates[u.Key]; gate != nil {
		s.arrived <- u.Key
		<-gate
	}
	return s.Store.Upload(ctx, u)
}

// TestDeletionsUnderTraffic: there is always an upload under way, and one more
// deletion after it. Those that came before have their turn.
func TestDeletionsUnderTraffic(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	first, second := make(chan struct{}), make(chan struct{})
	s := &gated{gates: map[string]chan struct{}{"app/first": first, "app/second": second}, arrived: make(chan string, 9)}
	n.wrap = func(real store.Store) store.Store { s.Store = real; return s }
	n.start()
	n.fill(9)
	gone := func(key string) bool {
		b, err := n.engine.base.Get(key)
		n.do(err)
		return b == nil
	}
	n.write("first", "x")
	<-s.arrived
	n.remove("d0/0")
	n.await("held", func() bool { return n.engine.dirty.Held().Keys == 1 })
	n.write("second", "x")
	<-s.arrived
	n.remove("d0/3")
	n.await("held", func() bool { return n.engine.dirty.Held().Keys == 2 })
	if gone("d0/0") {
		t.Error("deleted before what was under way when it was found")
	}
	close(first)
	n.await("deleted", func() bool { return gone("d0/0") })
	if gone("d0/3") {
		t.Error("deleted before what was under way when it was found")
	}
	close(second)
	n.flush()
	n.hasKeys(9)
	n.mustStop()
}

// TestHeldForLong: the status says what deletions wait for.
func TestHeldForLong(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	n.start()
	n.fill(9)
	n.engine.passing(+1) // a scan that takes long
	n.remove("d0/0")
	n.await("held", func() bool { return n.engine.dirty.Held().Keys == 1 })
	n.engine.judgeHeld(t.Context(), time.Now().Add(heldLong))
	if notes := n.engine.Status().Notes; !slices.Contains(notes, "deletions wait (1): a scan is under way") {
		t.Errorf("%q", notes)
	}
	n.engine.passing(-1)
	n.flush()
	n.await("said no more", func() bool { return len(n.engine.Status().Notes) == 0 })
	n.mustStop()
}

// TestScanAllIsNotForgotten: a scan that was asked for when there was no room
// for the question is made, though nobody asks again.
func TestScanAllIsNotForgotten(t *testing.T) {
	e := &Engine{scans: make(chan scanRequest, 1), scanAll: make(chan struct{}, 1)}
	e.requestScan("a/")
	e.requestScan("b/")
	e.requestScan("c/")
	if dirs, _ := e.gather(<-e.scans); !slices.Equal(dirs, []string{""}) {
		t.Errorf("%q", dirs)
	}
	n := newRig(t, testenv.MinIO(t)).node(t)
	n.start()
	n.engine.scanAll <- struct{}{}
	n.await("begun", func() bool { return len(n.engine.scanAll) == 0 })
	n.mustStop()
}

// tidied counts how often what is left behind is looked for.
type tidied struct {
	store.Store
	times int
}

func (s *tidied) AbortUploads(ctx context.Context, prefix string, olderThan time.Duration) (int, error) {
	s.times++
	return s.Store.AbortUploads(ctx, prefix, olderThan)
}

func TestTidyUpDaily(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	s := &tidied{}
	n.wrap = func(real store.Store) store.Store { s.Store = real; return s }
	e := n.open()
	m := e.meeting(func() {})
	m.tidied = time.Now()
	for i, want := range []int{0, 1, 1} {
		n.do(m.lookAround(t.Context()))
		if s.times != want {
			t.Errorf("look %d: %d times, want %d", i, s.times, want)
		}
		if i == 0 {
			m.tidied = time.Now().Add(-leftoverAge)
		}
	}
}
