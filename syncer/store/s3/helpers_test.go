package s3_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// content is size bytes, always the same.
func content(size int64) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func upload(key string, b []byte) store.Upload {
	return store.Upload{Key: key, Body: bytes.NewReader(b), Size: int64(len(b))}
}

func put(t testing.TB, s store.Store, key string, size int64) store.Object {
	t.Helper()
	o, err := s.Upload(t.Context(), upload(key, content(size)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func try(s store.Store, key string, size int64) error {
	_, err := s.Upload(context.Background(), upload(key, content(size)))
	return err
}

// memory is a destination of a download.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func (m *memory) WriteAt(b []byte, offset int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copy(m.b[offset:], b), nil
}

func get(s store.Store, o store.Object) ([]byte, error) {
	m := &memory{b: make([]byte, o.Size)}
	_, err := s.Download(context.Background(), o.Key, o.ETag, o.Size, m)
	return m.b, err
}

func wantWhole(t testing.TB, s store.Store, o store.Object, size int64) {
	t.Helper()
	b, err := get(s, o)
	if err != nil || !bytes.Equal(b, content(size)) {
		t.Errorf("Download(%s): %v, or other content", o.Key, err)
	}
}
