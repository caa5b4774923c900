package syncer

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// TestNeverResting: files that are written all the time, and no flush to help.
// What is written to those that only grow, small or in parts, is published
// within the bound that is promised, again and again. One that is rewritten is
// named as pending with that reason. Of none a state is published that it did
// not have.
func TestNeverResting(t *testing.T) {
	t.Parallel() // it waits for most of the time
	const promised = time.Minute
	server := testenv.MinIO(t)
	for name, c := range map[string]struct {
		lookAfter    time.Duration
		bound        time.Duration
		publications int
	}{
		"as promised":            {dirty.RestlessAfter, promised, 2},
		"fifteen times as often": {2 * time.Second, 4 * time.Second, 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for most of the time
			neverResting(t, server, c.lookAfter, c.bound, c.publications)
		})
	}
}

func neverResting(t *testing.T, server *testenv.Server, lookAfter, bound time.Duration, publications int) {
	// sending is how long a look may take, which reads the file and sends it, on
	// a machine that has other work. It is less than a usual look is away.
	const sending = 10 * time.Second
	r := &rig{server: server, bucket: server.NewBucket(t, true), endpoint: server.Endpoint}
	n := r.node(t)
	n.partSize, n.lookAfter = part, lookAfter
	logs := map[string]*ledger{"small.log": {}, "large.log": {}}
	n.wrap = func(real store.Store) store.Store { return &publishing{real, logs} }
	n.start()

	var writers sync.WaitGroup
	enough := make(chan struct{})
	keepOn := func(step func()) {
		writers.Go(func() {
			for {
				step()
				select {
				case <-enough:
					return
				case <-time.After(2 * time.Millisecond):
				}
			}
		})
	}
	stop := sync.OnceFunc(func() { close(enough); writers.Wait() })
	t.Cleanup(stop)
	for name, begin := range map[string]int{"small.log": 0, "large.log": 12 << 20} {
		keepOn(growsBy(n, name, begin, 128, logs[name]))
	}
	put, _ := inPlace(n, n.path("page"), small)
	pass := uint64(0)
	keepOn(func() {
		for i := range small / chunk {
			put(pass, i)
		}
		pass++
	})

	pending := func(name string) (reason string) {
		for _, p := range n.engine.Status().PendingPaths {
			if p.Path == name {
				reason = p.Reason
			}
		}
		return reason
	}
	for name, want := range map[string]string{
		"small.log": "grows all the time", "large.log": "grows all the time", "page": "never rests: it changes while it is read",
	} {
		n.await(name+" pending because it "+want, func() bool { return strings.Contains(pending(name), want) })
	}
	n.await("behind by a second", func() bool { return n.engine.Status().OldestPendingSeconds >= 1 })
	for name, l := range logs {
		n.await(fmt.Sprintf("%s published %d times", name, publications), func() bool { return l.publications() >= publications })
	}
	for name, l := range logs {
		late := l.late(time.Now())
		t.Logf("%s was published %d times, what is in it up to %s late", name, l.publications(), late)
		if late > bound+sending {
			t.Errorf("something in %s was not in the bucket %s after it was written, want %s and at most %s for a look", name, late, bound, sending)
		}
	}

	stop()
	n.mustStop()
	for name, had := range map[string]func([]byte, int) string{"small.log": grown, "large.log": grown, "page": rewritten} {
		published := r.versions(t, "app/"+name)
		for i, content := range published {
			if wrong := had(content, small); wrong != "" {
				t.Errorf("version %d of %s, %d bytes, is no state that it had: %s", i, name, len(content), wrong)
			}
		}
		now, err := os.ReadFile(n.path(name))
		n.do(err)
		if len(published) == 0 || !bytes.Equal(published[0], now) {
			t.Errorf("the last of %d versions of %s is not what it came to be", len(published), name)
		}
	}
}

// ledger is how long a file was when it was written, and how long its object.
type ledger struct {
	mu                 sync.Mutex
	written, published []length
}

type length struct {
	bytes int64
	since time.Time
}

func (l *ledger) note(in *[]length, bytes int64, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*in = append(*in, length{bytes, since})
}

func (l *ledger) publications() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.published)
}

// late is the longest that something was in the file and not in the bucket.
func (l *ledger) late(now time.Time) (longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := 0 // what was written first of what is not in the bucket
	for _, p := range append(slices.Clip(l.published), length{since: now}) {
		if next < len(l.written) {
			longest = max(longest, p.since.Sub(l.written[next].since))
		}
		for next < len(l.written) && l.written[next].bytes <= p.bytes {
			next++
		}
	}
	return longest
}

// publishing notes what was published of some keys.
type publishing struct {
	store.Store
	logs map[string]*ledger
}

func (p *publishing) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	obj, err := p.Store.Upload(ctx, u)
	if l := p.logs[strings.TrimPrefix(u.Key, "app/")]; l != nil && err == nil {
		l.note(&l.published, u.Size, time.Now())
	}
	return obj, err
}

// growsBy makes a file of cells that count from 0, begin bytes of them, and
// returns what appends step bytes more. The ledger is told first.
func growsBy(n *node, name string, begin, step int, l *ledger) func() {
	f, err := os.Create(n.path(name))
	n.do(err)
	n.t.Cleanup(func() { n.do(f.Close()) })
	var written uint64
	grow := func(bytes int) {
		b := make([]byte, 0, bytes)
		for range bytes / cell {
			b = binary.NativeEndian.AppendUint64(b, written)
			written++
		}
		l.note(&l.written, int64(written*cell), time.Now())
		if _, err := f.Write(b); err != nil {
			n.t.Error(err)
		}
	}
	grow(begin)
	return func() { grow(step) }
}

// versions are the contents that an object had, the present one first.
func (r *rig) versions(t *testing.T, key string) (contents [][]byte) {
	t.Helper()
	client := r.server.Client(t).Client
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	for v := range client.ListObjects(t.Context(), r.bucket, minio.ListObjectsOptions{Prefix: key, WithVersions: true}) {
		must(v.Err)
		if v.Key != key || v.IsDeleteMarker {
			continue
		}
		obj, err := client.GetObject(t.Context(), r.bucket, key, minio.GetObjectOptions{VersionID: v.VersionID})
		must(err)
		content, err := io.ReadAll(obj)
		must(err)
		must(obj.Close())
		contents = append(contents, content)
	}
	return contents
}
