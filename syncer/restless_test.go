package syncer

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// TestNeverResting: files that are written all the time, and no flush to help.
// Those that only grow, small or in parts, are published within the bound that
// is promised for them. One that is rewritten is named as pending with that
// reason. Of none a state is published that it did not have.
func TestNeverResting(t *testing.T) {
	t.Parallel() // it waits for most of the time
	const bound = 90 * time.Second
	server := testenv.MinIO(t)
	r := &rig{server: server, bucket: server.NewBucket(t, true), endpoint: server.Endpoint}
	n := r.node(t)
	n.partSize = part
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
		keepOn(growsBy(n, name, begin, 128))
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
		n.awaitFor(bound, name+" pending because it "+want, func() bool { return strings.Contains(pending(name), want) })
	}
	for _, name := range []string{"small.log", "large.log"} {
		if len(r.versions(t, "app/"+name)) == 0 {
			t.Errorf("%s is not published", name)
		}
	}
	if s := n.engine.Status(); s.OldestPendingSeconds < 1 {
		t.Errorf("the loss of the node would cost %v s, says the status", s.OldestPendingSeconds)
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

// growsBy makes a file of cells that count from 0, begin bytes of them, and
// returns what appends step bytes more.
func growsBy(n *node, name string, begin, step int) func() {
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
