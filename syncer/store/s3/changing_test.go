package s3_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// changing is a body of which a byte is another each time that it is read.
type changing struct {
	at int64

	mu      sync.Mutex
	content []byte
}

func (c *changing) ReadAt(b []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := copy(b, c.content[off:])
	if off <= c.at && c.at < off+int64(n) {
		c.content[c.at]++
	}
	return n, nil
}

// TestChangingBody: a file that changes while its parts are on their way is no
// damage of the store's or of the line's. Nothing of it is published.
func TestChangingBody(t *testing.T) {
	srv := testenv.MinIO(t)
	bucket := srv.NewBucket(t, false)
	s := open(t, config(srv, bucket))
	for _, size := range []int64{single + 1, 7*part + 1} {
		for _, at := range []int64{0, size / 2, size - 1} {
			key := fmt.Sprintf("p/%d-%d", size, at)
			u := store.Upload{Key: key, Body: &changing{at: at, content: content(size)}, Size: size, Commit: func() error {
				t.Errorf("%s: Commit was called", key)
				return nil
			}}
			_, err := s.Upload(t.Context(), u)
			if !errors.Is(err, store.ErrBodyChanged) || errors.Is(err, store.ErrDamaged) {
				t.Errorf("%s: %v, want %v", key, err, store.ErrBodyChanged)
			}
			if _, err := s.Stat(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: something is published: %v", key, err)
			}
		}
	}
	for u := range srv.Client(t).Client.ListIncompleteUploads(t.Context(), bucket, "", true) {
		t.Errorf("an unfinished upload is left: %s %v", u.Key, u.Err)
	}
}
