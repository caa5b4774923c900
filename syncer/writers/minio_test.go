package writers_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/store/s3"
	"github.com/minio-sidecar/minio-sidecar/syncer/writers"
)

// The same on a real store, as far as it goes without waiting.
func TestOnMinIO(t *testing.T) {
	server := testenv.MinIO(t)
	s, err := s3.New(s3.Config{
		Endpoint: server.Endpoint, Region: testenv.Region, Bucket: server.NewBucket(t, true),
		AccessKey: server.AccessKey, SecretKey: server.SecretKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ctx := t.Context()
	looks := func(r *writers.Roster, wantNews bool, want ...string) {
		t.Helper()
		others, news, err := r.Look(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(others, want) || news != wantNews {
			t.Fatalf("sees %q, news %v; want %q, %v", others, news, want, wantNews)
		}
	}

	a, b := writers.New(s, "app/", "a"), writers.New(s, "app/", "b")
	stranger := writers.New(s, "application/", "stranger")
	looks(stranger, false)
	looks(a, false)
	looks(b, true, "a")
	looks(a, true, "b")
	if err := b.Announce(ctx); err != nil { // a renewal is another object, and no news
		t.Fatal(err)
	}
	looks(a, false, "b")
	if err := b.Release(ctx); err != nil {
		t.Fatal(err)
	}
	looks(a, true)
	looks(a, false)

	garbage := []byte("not JSON")
	_, err = s.Upload(ctx, store.Upload{
		Key: "app/.minio-sidecar/writers/x.json", Body: bytes.NewReader(garbage), Size: int64(len(garbage)),
	})
	if err != nil {
		t.Fatal(err)
	}
	looks(a, true, "x")
	if err := s.Delete(ctx, "app/.minio-sidecar/writers/x.json", ""); err != nil {
		t.Fatal(err)
	}
	looks(a, true)

	if err := s.Delete(ctx, "app/.minio-sidecar/writers/a.json", ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Look(ctx); err != writers.ErrForgotten {
		t.Errorf("%v", err)
	}
}
