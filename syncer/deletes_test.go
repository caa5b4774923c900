package syncer

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// TestDisasters are the ways in which syncs that delete have emptied the only
// copy of somebody's data, each by its name.
func TestDisasters(t *testing.T) {
	server := testenv.MinIO(t)
	for name, run := range map[string]func(*testing.T, *rig){
		"source unmounted while sync runs":          unmountedRunning,
		"source not mounted when sync starts":       unmountedAtStart,
		"source emptied, marker and all":            emptiedWithMarker,
		"source emptied, a few files, nobody saw":   func(t *testing.T, r *rig) { emptiedUnseen(t, r, 3) },
		"source emptied, a dozen, nobody saw":       func(t *testing.T, r *rig) { emptiedUnseen(t, r, 12) },
		"restore half done, then sync":              halfRestored,
		"restore half done, then sync, then a stop": halfRestoredStopped,
		"exclude pattern with delete":               excludeWithDelete,
		"include pattern with delete":               includeWithDelete,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newRig(t, server))
		})
	}
}

// fill writes n files and waits until they are in the bucket.
func (n *node) fill(files int) {
	n.t.Helper()
	for i := range files {
		n.write(fmt.Sprintf("d%d/%d", i%3, i), fmt.Sprint("content of ", i))
	}
	n.flush()
}

// hasKeys checks how many files are in the bucket.
func (n *node) hasKeys(want int) {
	n.t.Helper()
	if keys := n.rig.keys(n.t, n.config.Prefix); len(keys) != want {
		n.t.Errorf("the bucket has %d files, want %d: %.300q", len(keys), want, keys)
	}
}

// files are the paths of all that is not a folder in the volume.
func (n *node) files() []string {
	n.t.Helper()
	var files []string
	for p, line := range n.listing() {
		if !strings.HasPrefix(line, "d") {
			files = append(files, p)
		}
	}
	slices.Sort(files)
	return files
}

func (n *node) hasFiles(want int) {
	n.t.Helper()
	if files := n.files(); len(files) != want {
		n.t.Errorf("the volume has %d files, want %d: %.300q", len(files), want, files)
	}
}

// rootOnly skips what mounts a file system where that is not allowed.
func rootOnly(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a file system")
	}
}

// detach takes the file system at dir away from under whoever uses it.
func detach(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
}

func unmountedRunning(t *testing.T, r *rig) {
	rootOnly(t)
	a := r.node(t)
	mountSmall(t, a.dir, "16m")
	a.start()
	a.fill(8)
	detach(t, a.dir)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := a.engine.Flush(ctx, false); err == nil {
		t.Error("a flush of a volume that is not mounted any more succeeded")
	}
	a.hasKeys(8)
	if err := a.stopWithin(time.Second); err == nil {
		t.Error("sync of a volume that is not mounted any more ended well")
	}
	a.hasKeys(8)
	a.start() // on what is below the mount point: another volume, and empty
	a.mustStop()
	a.hasKeys(8)
	a.hasFiles(8)
}

func unmountedAtStart(t *testing.T, r *rig) {
	rootOnly(t)
	a := r.node(t)
	mountSmall(t, a.dir, "16m")
	a.start()
	a.fill(8)
	a.mustStop()
	a.shut()
	detach(t, a.dir)
	a.start()
	a.flush()
	a.mustStop()
	a.hasKeys(8)
	a.hasFiles(8)
}

func emptiedWithMarker(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.fill(8)
	names, err := os.ReadDir(a.dir)
	a.do(err)
	for _, name := range names { // `rm -rf volume/* volume/.*`
		a.remove(name.Name())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := a.engine.Flush(ctx, false); err == nil {
		t.Error("a flush of a volume that was emptied altogether succeeded")
	}
	a.hasKeys(8)
	if err := a.stopWithin(time.Second); err == nil {
		t.Error("sync of a volume that was emptied altogether ended well")
	}
	a.hasKeys(8)
	a.start()
	a.mustStop()
	a.hasKeys(8)
	a.hasFiles(8)
}

// A volume that was found empty, while nobody saw how, is not believed, however
// few files it had.
func emptiedUnseen(t *testing.T, r *rig, files int) {
	a := r.node(t)
	a.start()
	a.fill(files)
	a.mustStop()
	for i := range 3 {
		a.remove(fmt.Sprint("d", i))
	}
	a.start()
	a.await("halted", func() bool { return condition(a) == status.Halted })
	a.hasKeys(files)
	var unsynced *UnsyncedError
	if err := a.stop(); !errors.As(err, &unsynced) || unsynced.Halted < int64(files) {
		t.Errorf("stop with held deletions: %v", err)
	}
	a.hasKeys(files)
}

// someDownloads lets through so many downloads, and none after them.
type someDownloads struct {
	store.Store
	left atomic.Int64
	out  chan struct{} // closed when there are none left
}

func (s *someDownloads) Download(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (store.Object, error) {
	switch n := s.left.Add(-1); {
	case n >= 0:
		return s.Store.Download(ctx, key, etag, size, dst)
	case n == -1:
		close(s.out)
	}
	<-ctx.Done()
	return store.Object{}, context.Cause(ctx)
}

// restoreHalf restores some of the files, and is then interrupted.
func (n *node) restoreHalf(files int64) {
	n.t.Helper()
	some := &someDownloads{out: make(chan struct{})}
	some.left.Store(files)
	n.wrap = func(real store.Store) store.Store { some.Store = real; return some }
	ctx, cancel := context.WithCancel(n.t.Context())
	defer cancel()
	ended := make(chan error, 1)
	e := n.open()
	go func() { ended <- e.Restore(ctx) }()
	select {
	case <-some.out:
		n.await("half restored", func() bool { return e.Status().Progress.FilesDone >= files })
	case err := <-ended:
		n.t.Fatalf("the restore ended before it was interrupted: %v", err)
	}
	cancel()
	if err := <-ended; err == nil || e.Status().Restored {
		n.t.Fatalf("an interrupted restore: %v, %+v", err, e.Status())
	}
	n.wrap = nil
}

func halfRestored(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.fill(20)
	a.mustStop()
	b := r.node(t)
	b.restoreHalf(7)
	if n := len(b.files()); n != 7 {
		t.Fatalf("%d files are restored, not half of them", n)
	}
	b.write("d1/new", "written too early")
	b.start()
	b.flush()
	b.hasKeys(21)
	b.hasFiles(21)
	b.mustStop()
	b.verify()
}

// A sync that is stopped before it has brought the rest does not take the rest
// for deleted, neither at its end nor at the next start.
func halfRestoredStopped(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.fill(20)
	a.mustStop()
	b := r.node(t)
	b.restoreHalf(7)
	none := &someDownloads{out: make(chan struct{})}
	b.wrap = func(real store.Store) store.Store { none.Store = real; return none }
	b.startOnly()
	select {
	case <-none.out:
	case <-time.After(testPatience):
		t.Fatal("sync does not bring what the restore has not")
	}
	if err := b.stopWithin(time.Second); err == nil {
		t.Error("a sync that is not in step ended well")
	}
	b.hasKeys(20)
	b.wrap = nil
	b.start()
	b.mustStop()
	b.hasKeys(20)
	b.equals(a)
}

// What a pattern hides is not deleted: not when the pattern comes, not in a
// volume that was restored under it, and not when it goes again.
func excludeWithDelete(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.fill(9) // three in each of d0, d1, d2
	a.mustStop()
	a.config.Exclude = []string{"d1/**", "d2"}
	a.start()
	a.flush()
	a.mustStop()
	a.hasKeys(9)
	a.hasFiles(9)

	b := r.node(t, func(c *Config) { c.Exclude = []string{"d1/**", "d2"} })
	b.restore()
	b.hasFiles(3)
	b.start()
	b.write("d0/more", "x")
	b.flush()
	b.mustStop()
	b.hasKeys(10)
	b.hasFiles(4)
	b.config.Exclude = nil
	b.start()
	b.mustStop()
	b.hasKeys(10)
	b.hasFiles(10)
}

func includeWithDelete(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.fill(9)
	a.mustStop()
	a.config.Include = []string{"d0/**"}
	a.start()
	a.remove("d0/0")
	a.flush()
	a.mustStop()
	a.hasKeys(8)
	a.hasFiles(8)
}

// notListings are what may come back instead of a listing, none of which says
// that anything is not there.
func notListings() map[string]func(*between) {
	const empty = `<?xml version="1.0" encoding="UTF-8"?>` +
		`<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>%s</Name><Prefix>%s</Prefix>` +
		`<KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>`
	say := func(status int, text string) func(*between) {
		return func(b *between) {
			b.answers(func(w http.ResponseWriter, r *http.Request) bool {
				if !listsFiles(r) {
					return false
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, text)
				return true
			})
		}
	}
	return map[string]func(*between){
		"200 with an empty listing": func(b *between) {
			b.answers(func(w http.ResponseWriter, r *http.Request) bool {
				if listsFiles(r) {
					fmt.Fprintf(w, empty, strings.Trim(r.URL.Path, "/"), r.URL.Query().Get("prefix"))
				}
				return listsFiles(r)
			})
		},
		"200 with HTML":     say(http.StatusOK, "<!DOCTYPE html><html><body>Please log in</body></html>"),
		"200 with nothing":  say(http.StatusOK, ""),
		"404 of a proxy":    say(http.StatusNotFound, "default backend - 404"),
		"503 with an Error": say(http.StatusServiceUnavailable, `<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>`),
		"half, then 503":    func(b *between) { half(b, http.StatusServiceUnavailable) },
		"half, then an end": func(b *between) { half(b, 0) },
		"half a page":       func(b *between) { b.spoils(cutShort) },
	}
}

// cutShort lets half of a listing's page through and then closes.
func cutShort(r *http.Response) error {
	if !listsFiles(r.Request) {
		return nil
	}
	page, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(page[:len(page)/2])) // the announced length stays
	return nil
}

// half turns a listing into its first half and an error (or, for status 0, a
// connection that ends) in place of the second.
func half(b *between, status int) {
	b.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if !listsFiles(r) || !r.URL.Query().Has("continuation-token") {
			return false
		}
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
		return true
	})
	b.spoils(func(r *http.Response) error {
		page, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		some := page
		if entries := bytes.SplitAfter(page, []byte("</Contents>")); listsFiles(r.Request) && len(entries) > 2 {
			entries = entries[:len(entries)/2]
			_, key, _ := bytes.Cut(entries[len(entries)-1], []byte("<Key>"))
			key, _, _ = bytes.Cut(key, []byte("</Key>"))
			last, err := url.QueryUnescape(string(key))
			if err != nil {
				return err
			}
			some = append(bytes.Join(entries, nil), "</ListBucketResult>"...)
			some = bytes.Replace(some, []byte("<IsTruncated>false</IsTruncated>"), fmt.Appendf(nil,
				"<IsTruncated>true</IsTruncated><NextContinuationToken>%s</NextContinuationToken>",
				base64.StdEncoding.EncodeToString([]byte(last))), 1)
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(some)), int64(len(some))
		r.Header.Set("Content-Length", strconv.Itoa(len(some)))
		return nil
	})
}

// TestUnreachableReadAsEmpty: whatever answers in place of the store, or comes
// of its answer on the way, is never read as a bucket that has become empty: not
// by a sync that listens to others, not by one that starts, not by a restore.
func TestUnreachableReadAsEmpty(t *testing.T) {
	server := testenv.MinIO(t)
	for name, lie := range notListings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			other := r.node(t) // its presence makes the first list
			other.attendEvery = 100 * time.Millisecond
			proxy := r.between(t)
			a, b := r.node(t), r.node(t)
			a.attendEvery = 100 * time.Millisecond
			a.start()
			a.fill(20)
			other.restore()
			other.start()
			a.await("not alone", func() bool { return len(a.engine.Status().OtherWriters) == 1 })

			lie(proxy)
			a.listsAgain(proxy, 2)
			a.hasFiles(20)
			a.write("d0/meanwhile", "uploads do not need a listing")
			a.await("uploaded", func() bool { return slices.Contains(r.keys(t, "app/"), "d0/meanwhile") })
			a.hasKeys(21)

			if err := a.stopWithin(2 * time.Second); err != nil {
				t.Logf("stop: %v", err) // deletions are not certain without a listing
			}
			a.config.FlushTimeout = testPatience
			a.remove("d1/1") // of the first half of the listing,
			a.remove("d2/8") // and of the second
			a.startOnly()
			a.listsAgain(proxy, 2)
			if a.engine.isInStep() {
				t.Error("in step without a listing")
			}
			a.hasFiles(19)
			a.hasKeys(21) // not even those that were deleted

			e := b.open()
			restored := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), testPatience)
			defer cancel()
			go func() { restored <- e.Restore(ctx) }()
			b.listsAgain(proxy, 2)
			b.await("unreachable", func() bool { return condition(b) == status.Unreachable })
			if e.Status().Restored {
				t.Errorf("status of a restore without a listing: %+v", e.Status())
			}

			proxy.honest()
			if err := <-restored; err != nil {
				t.Fatal(err)
			}
			a.await("in step", func() bool { return a.engine.isInStep() })
			a.flush()
			have := b.listing() // and perhaps what was deleted afterwards
			for p, line := range a.listing() {
				if have[p] != line {
					t.Errorf("%s was restored as %q, want %q", p, have[p], line)
				}
			}
			other.await("pulled", func() bool { return len(other.files()) == 19 })
			a.mustStop()
			other.mustStop()
			other.equals(a)
			a.hasKeys(19)
		})
	}
}

// listsAgain waits until the node has asked for everything so many times more,
// or is not going to.
func (n *node) listsAgain(b *between, times int64) {
	n.t.Helper()
	from := b.asked.Load()
	n.await("listed", func() bool { return b.asked.Load() >= from+times })
}

// TestPrefixEmptiedUnderAFollower: a read-only volume is not emptied by what
// happens to the bucket as a whole either.
func TestPrefixEmptiedUnderAFollower(t *testing.T) {
	server := testenv.MinIO(t)
	r := newRig(t, server)
	a := r.node(t)
	a.start()
	a.fill(20)
	a.mustStop()
	b := r.node(t, func(c *Config) { c.Mode = contract.ModeReadOnly })
	b.restore()
	b.attendEvery = 100 * time.Millisecond
	b.start()
	client := server.Client(t)
	for obj := range client.Client.ListObjectsIter(t.Context(), r.bucket, listAll()) {
		a.do(client.RemoveObject(t.Context(), r.bucket, obj.Key, removeOptions()))
	}
	select {
	case err := <-b.ended:
		b.cancel = nil
		if !errors.Is(err, ErrBucketReplaced) {
			t.Fatalf("sync ended with %v", err)
		}
	case <-time.After(testPatience):
		t.Fatal("sync did not notice that the prefix was emptied")
	}
	b.hasFiles(20)
	b.start() // as Kubernetes would
	b.mustStop()
	b.hasFiles(20)
	if left, err := filepath.Glob(filepath.Join(b.dir, ".minio-sidecar", "tmp", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
