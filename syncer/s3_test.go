package syncer

import (
	"io"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// What tests do behind the syncer's back, as another client of the bucket.

func putOptions() minio.PutObjectOptions { return minio.PutObjectOptions{} }
func getOptions() minio.GetObjectOptions { return minio.GetObjectOptions{} }

// checkPage reads an object of four blocks that a writer rewrites in order,
// each time with the next digit. A state that the file had is some blocks of
// one digit followed by blocks of the digit before it.
func checkPage(t *testing.T, obj io.ReadCloser) {
	t.Helper()
	defer obj.Close()
	content, err := io.ReadAll(obj)
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return // nothing published yet
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(content) - 1 {
		if a, b := content[i], content[i+1]; a != b && (a != content[0] || (b-'0'+1)%10 != a-'0') {
			t.Fatalf("the object holds a state that the file never had: %q then %q at byte %d", a, b, i)
		}
	}
}

// stopWithin stops with a shorter flush timeout than the node was started with.
func (n *node) stopWithin(d time.Duration) error {
	n.engine.cfg.FlushTimeout = d
	return n.stop()
}
