package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// history is a bucket with a past.
type history struct {
	*rig
	then time.Time
	was  map[string]string // the volume then
	is   map[string]string // and at the end
}

func restoreAt(t time.Time) func(*Config) { return func(c *Config) { c.RestoreAt = t } }

// newHistory has a state in which files were, and one in which they were
// changed, removed, and outnumbered by others.
func newHistory(t *testing.T) (*history, *node) {
	server := testenv.MinIO(t)
	h := &history{rig: &rig{server: server, bucket: server.NewBucket(t, true), endpoint: server.Endpoint}}
	a := h.node(t)
	a.start()
	a.write("kept", "kept")
	a.write("changed", "first")
	a.write("touched", "touched")
	a.write("deep/er/removed", "will be back")
	a.write("large", strings.Repeat("large", 2<<20))
	a.do(os.Mkdir(a.path("empty"), 0o750))
	a.do(os.Symlink("kept", a.path("link")))
	a.flush()
	h.was = a.listing()
	time.Sleep(50 * time.Millisecond)
	h.then = time.Now()
	time.Sleep(50 * time.Millisecond)
	a.write("changed", "second")
	a.do(os.Chmod(a.path("touched"), 0o600))
	a.remove("deep")
	a.write("large", "small")
	a.remove("link")
	a.do(os.Symlink("changed", a.path("link")))
	for i := range 120 { // more than half of all
		a.write(fmt.Sprintf("new/%d", i), "new")
	}
	a.flush()
	a.mustStop()
	h.is = a.listing()
	return h, a
}

func (h *history) holds(t *testing.T, n *node, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, n.listing()); diff != "" {
		t.Errorf("the volume differs (- wanted, + is):\n%s", diff)
	}
}

func (h *history) noted(t *testing.T, what string) bool {
	t.Helper()
	key := "app/" + contract.TravelPrefix + moment(h.then) + "/" + what
	_, err := h.server.Client(t).Client.StatObject(t.Context(), h.bucket, key, minio.StatObjectOptions{})
	return err == nil
}

// versions counts what the bucket keeps of a file.
func (h *history) versions(t *testing.T, file string) int {
	t.Helper()
	n := 0
	for v := range h.server.Client(t).ListObjectsIter(t.Context(), h.bucket, minio.ListObjectsOptions{
		Prefix: "app/" + file, WithVersions: true, Recursive: true,
	}) {
		if v.Err != nil {
			t.Fatal(v.Err)
		}
		if v.Key == "app/"+file {
			n++
		}
	}
	return n
}

// TestTimeTravel: an old state comes back, becomes the present one, once, and
// nothing that was written is destroyed.
func TestTimeTravel(t *testing.T) {
	h, _ := newHistory(t)
	end := time.Now()
	b := h.node(t, restoreAt(h.then))
	b.restore()
	h.holds(t, b, h.was)
	if h.noted(t, noteDone) {
		t.Error("it is said to be the present before any sync")
	}
	b.start()
	b.await("arrived", func() bool { return h.noted(t, noteDone) })
	h.holds(t, b, h.was)
	b.verify()
	plain := h.node(t)
	plain.restore()
	h.holds(t, plain, h.was)
	for file, want := range map[string]int{"kept": 1, "changed": 3, "touched": 3, "new/7": 2, "deep/er/removed": 3} {
		if got := h.versions(t, file); got != want {
			t.Errorf("%s has %d versions, want %d", file, got, want)
		}
	}

	// The app goes on from there, and no later pod turns it back.
	b.write("changed", "third")
	b.write("later", "later")
	b.remove("kept")
	b.mustStop()
	c := h.node(t, restoreAt(h.then))
	c.restore()
	c.equals(b)
	if c.logged.count("restore-at has no effect") != 1 {
		t.Error("nobody is told that the moment was not restored")
	}
	c.start()
	c.flush()
	if notes := c.engine.Status().Notes; len(notes) != 1 || !strings.HasPrefix(notes[0], "restore-at has no effect") {
		t.Errorf("notes of the status: %q", notes)
	}
	c.mustStop()
	c.equals(b)

	// What was undone can be had again.
	d := h.node(t, restoreAt(end))
	d.restore()
	h.holds(t, d, h.is)
}

// TestTimeTravelOfVolume: also in a volume that holds the present one.
func TestTimeTravelOfVolume(t *testing.T) {
	h, a := newHistory(t)
	a.config.RestoreAt = h.then
	a.restore()
	h.holds(t, a, h.was)
	a.start()
	a.await("arrived", func() bool { return h.noted(t, noteDone) })
	a.mustStop()
	plain := h.node(t)
	plain.restore()
	h.holds(t, plain, h.was)
}

// breaking ends the restore at one of its steps, as a kill would.
type breaking struct {
	store.Store
	left atomic.Int64
	stop func()
}

func (b *breaking) step() {
	if b.left.Add(-1) == 0 {
		b.stop()
	}
}

func (b *breaking) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	defer b.step()
	return b.Store.Upload(ctx, u)
}

func (b *breaking) At(ctx context.Context, t time.Time) (store.Reader, error) {
	b.step()
	past, err := b.Store.At(ctx, t)
	return &breakingReader{past, b}, err
}

type breakingReader struct {
	store.Reader
	*breaking
}

func (b *breakingReader) Download(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (store.Object, error) {
	defer b.step()
	return b.Reader.Download(ctx, key, etag, size, dst)
}

// TestTimeTravelInterrupted: whenever a restore ends before its time, the next
// one in the same volume brings it to its end.
func TestTimeTravelInterrupted(t *testing.T) {
	h, _ := newHistory(t)
	b := h.node(t, restoreAt(h.then))
	interrupted := 0
	for after := int64(1); ; after++ {
		broken := &breaking{}
		broken.left.Store(after)
		ctx, cancel := context.WithCancelCause(t.Context())
		broken.stop = func() { cancel(errors.New("killed")) }
		b.wrap = func(s store.Store) store.Store { broken.Store = s; return broken }
		err := b.open().Restore(ctx)
		cancel(nil)
		if err == nil {
			break
		}
		interrupted++
		if interrupted > 50 {
			t.Fatalf("it does not get anywhere: %v", err)
		}
	}
	if interrupted < 3 {
		t.Errorf("interrupted only %d times", interrupted)
	}
	b.wrap = nil
	h.holds(t, b, h.was)
	b.restore() // a container that is started again
	h.holds(t, b, h.was)

	// The pod is gone before its sync has done anything: the next does it anew.
	c := h.node(t, restoreAt(h.then))
	c.restore()
	h.holds(t, c, h.was)
	c.start()
	c.mustStop() // with the last flush
	if !h.noted(t, noteDone) {
		t.Error("it is not noted to be done after a clean end")
	}
	plain := h.node(t)
	plain.restore()
	h.holds(t, plain, h.was)
}

// TestTimeTravelLater: an attempt that did not get to its end does not bind one
// that is made much later: what others have written in between is undone, too.
func TestTimeTravelLater(t *testing.T) {
	h, a := newHistory(t)
	broken := &breaking{}
	broken.left.Store(4) // the past, a note, and two files
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	broken.stop = func() { cancel(errors.New("killed")) }
	b := h.node(t, restoreAt(h.then))
	b.wrap = func(s store.Store) store.Store { broken.Store = s; return broken }
	if err := b.open().Restore(ctx); err == nil || !h.noted(t, noteBegun) {
		t.Fatalf("it was to be broken off in the middle: %v", err)
	}
	a.start()
	a.write("kept", "written since")
	a.write("deep/er/removed", "written since")
	a.write("fresh", "written since")
	a.mustStop()

	c := h.node(t, restoreAt(h.then))
	c.restore()
	h.holds(t, c, h.was)
	c.start()
	c.await("arrived", func() bool { return h.noted(t, noteDone) })
	h.holds(t, c, h.was)
	c.mustStop()
	plain := h.node(t)
	plain.restore()
	h.holds(t, plain, h.was)
}

// undone never says that it is done.
type undone struct{ store.Store }

func (u *undone) Upload(ctx context.Context, up store.Upload) (store.Object, error) {
	if strings.HasSuffix(up.Key, "/"+noteDone) {
		return store.Object{}, fmt.Errorf("upload %s: %w", up.Key, store.ErrUnreachable)
	}
	return u.Store.Upload(ctx, up)
}

// TestTimeTravelTogether: several pods that travel at a time agree, and what
// the app of one writes is not undone by another that comes late.
func TestTimeTravelTogether(t *testing.T) {
	h, _ := newHistory(t)
	b, c := h.node(t, restoreAt(h.then)), h.node(t, restoreAt(h.then))
	b.restore()
	c.restore()
	b.wrap = func(s store.Store) store.Store { return &undone{s} }
	c.wrap = b.wrap
	b.start()
	c.start()
	b.flush()
	c.flush()
	h.holds(t, b, h.was)
	h.holds(t, c, h.was)
	b.write("changed", "by the app")
	b.write("fresh", "by the app")
	b.flush()

	late := h.node(t, restoreAt(h.then))
	late.restore()
	late.start()
	late.await("arrived", func() bool { return h.noted(t, noteDone) })
	late.mustStop()
	b.await("pulled", func() bool { return b.engine.Status().Pending == 0 })
	plain := h.node(t)
	plain.restore()
	for _, file := range []string{"changed", "fresh"} {
		if content, err := os.ReadFile(plain.path(file)); err != nil || string(content) != "by the app" {
			t.Errorf("%s holds %q, %v", file, content, err)
		}
	}
	keys := h.keys(t, "app/")
	if slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, "new/") }) {
		t.Errorf("the bucket has %q", keys)
	}
}

// TestTimeTravelGuarded: what a person did not mean is held back as ever.
func TestTimeTravelGuarded(t *testing.T) {
	h, _ := newHistory(t)
	b := h.node(t, restoreAt(h.then))
	b.restore()
	for _, name := range []string{"kept", "changed", "touched", "deep", "large", "empty", "link"} {
		b.remove(name)
	}
	b.start()
	b.await("halted", func() bool { return b.engine.Status().HaltedDeletes > 0 })
	for _, key := range []string{"kept", "changed", "large"} {
		if !slices.Contains(h.keys(t, "app/"), key) {
			t.Errorf("%s was deleted", key)
		}
	}
	if h.noted(t, noteDone) {
		t.Error("it is said to be done")
	}
	if err := b.stopWithin(time.Second); err == nil {
		t.Error("a clean end")
	}
}

// TestTimeTravelReadOnly: a read-only volume stays where it was taken, and
// leaves no trace.
func TestTimeTravelReadOnly(t *testing.T) {
	h, a := newHistory(t)
	r := h.node(t, restoreAt(h.then), func(c *Config) { c.Mode = contract.ModeReadOnly })
	r.attendEvery = 10 * time.Millisecond
	r.restore()
	h.holds(t, r, h.was)
	r.start()
	a.start()
	a.write("changed", "third")
	a.flush()
	time.Sleep(200 * time.Millisecond) // many times the interval
	r.flush()
	h.holds(t, r, h.was)
	r.mustStop()
	if h.noted(t, noteBegun) || h.noted(t, noteDone) {
		t.Error("a read-only volume wrote to the bucket")
	}
}

// TestTimeTravelRefused says what is wrong, at once.
func TestTimeTravelRefused(t *testing.T) {
	h, _ := newHistory(t)
	plain := newRig(t, h.server)
	p := plain.node(t)
	p.start()
	p.write("f", "1")
	p.mustStop()
	for name, c := range map[string]struct {
		rig  *rig
		at   time.Time
		want string
	}{
		"future":      {h.rig, time.Now().Add(time.Hour), "lies in the future"},
		"too early":   {h.rig, h.then.Add(-24 * time.Hour), "nothing was there then"},
		"no versions": {plain, time.Now(), "keeps no versions"},
	} {
		for _, mode := range contract.Modes() {
			n := c.rig.node(t, restoreAt(c.at), func(cfg *Config) { cfg.Mode = mode })
			if err := n.tryRestore(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s: %v, want …%s…", name, mode, err, c.want)
			}
			if len(n.listing()) > 0 {
				t.Errorf("%s, %s: the volume has %v", name, mode, n.listing())
			}
		}
	}
	if h.noted(t, noteBegun) {
		t.Error("a travel that was refused is said to have begun")
	}
}
