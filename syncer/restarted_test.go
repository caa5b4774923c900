package syncer

import (
	"strings"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// TestRestartedIsNoOther: a sync that follows one that was killed does not take it
// for another writer, nor leave it to others to do so. One that is there stays.
func TestRestartedIsNoOther(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	other, n := r.node(t), r.node(t)
	n.attendEvery, other.attendEvery = 50*time.Millisecond, 50*time.Millisecond
	other.start()
	n.start()
	former := "app/" + contract.WritersPrefix + n.engine.writer + ".json"
	left := r.get(t, former)
	n.mustStop()
	if !strings.Contains(string(left), `"active"`) {
		t.Fatalf("presence: %s", left)
	}
	// As if it had been killed.
	_, err := r.server.Client(t).PutObject(t.Context(), r.bucket, former,
		strings.NewReader(string(left)), int64(len(left)), "", "", putOptions())
	n.do(err)
	n.start()
	if now := r.get(t, former); !strings.Contains(string(now), `"released"`) {
		t.Errorf("presence of the one that was killed: %s", now)
	}
	for _, who := range []*node{n, other} {
		another := map[*node]*node{n: other, other: n}[who]
		who.await("aware of the other alone", func() bool {
			s := who.engine.Status().OtherWriters
			return len(s) == 1 && s[0] == another.engine.writer
		})
	}
	n.mustStop()
	other.mustStop()
}
