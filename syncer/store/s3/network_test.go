package s3_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// impatient gives up connections that stand still after this long: more than
// a loaded machine ever stands still.
const impatient = 3 * time.Second

// A path that swallows everything is noticed in either direction, in the
// middle of small and large objects, and works again when it is mended.
func TestBlackHole(t *testing.T) {
	srv := testenv.MinIO(t)
	bucket := srv.NewBucket(t, false)
	for _, stream := range []string{"upstream", "downstream"} {
		t.Run(stream, func(t *testing.T) {
			path := srv.Faulty(t)
			cfg := config(srv, bucket)
			cfg.Endpoint, cfg.StallTimeout = path.Endpoint, impatient
			s := open(t, cfg)
			small, large := put(t, s, "p/small", 100), put(t, s, "p/large", 8*part)

			// A timeout toxic of 0 lets nothing through and never closes.
			cure := path.Poison(t, "timeout", stream, map[string]any{"timeout": 0})
			var all sync.WaitGroup
			for name, f := range map[string]func() error{
				"Stat":              func() error { return second(s.Stat(t.Context(), "p/small")) },
				"List":              func() error { return listing(s) },
				"Delete":            func() error { return s.Delete(t.Context(), "p/small", "") },
				"small upload":      func() error { return try(s, "p/new", 100) },
				"large upload":      func() error { return try(s, "p/new", 2*part) },
				"download of small": func() error { return second(get(s, small)) },
				"download of large": func() error { return second(get(s, large)) },
			} {
				all.Go(func() {
					if err := f(); !errors.Is(err, store.ErrUnreachable) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			all.Wait()
			cure()
			wantWhole(t, s, large, 8*part)
			put(t, s, "p/new", 100)
		})
	}
}

// A slow path is not a dead one: a transfer may take many times the patience.
func TestSlowPath(t *testing.T) {
	srv := testenv.MinIO(t)
	path := srv.Faulty(t)
	cfg := config(srv, srv.NewBucket(t, false))
	// One large piece, and a rate at which what kernels buffer along the path
	// (some MiB) takes less than the patience, but the piece takes longer.
	const size, rate = 40 << 20, 8 << 20
	cfg.Endpoint, cfg.StallTimeout, cfg.PartSize = path.Endpoint, impatient, size
	s := open(t, cfg)
	for _, stream := range []string{"upstream", "downstream"} {
		cure := path.Poison(t, "bandwidth", stream, map[string]any{"rate": rate >> 10}) // KiB/s
		start := time.Now()
		wantWhole(t, s, put(t, s, "p/a", size), size)
		if took := time.Since(start); took < impatient {
			t.Errorf("%s: took %v, which proves nothing", stream, took)
		}
		cure()
	}
}

// Connections that break in the middle cost what had not arrived yet, not the
// whole. Uploads of small objects are the caller's to repeat.
func TestBrokenConnections(t *testing.T) {
	srv := testenv.MinIO(t)
	bucket := srv.NewBucket(t, false)
	direct := open(t, config(srv, bucket))
	large, small := put(t, direct, "p/large", 8*part), put(t, direct, "p/small", 4<<20)

	path := srv.Faulty(t)
	cfg := config(srv, bucket)
	cfg.Endpoint, cfg.StallTimeout = path.Endpoint, impatient
	s := open(t, cfg)
	// Each connection ends after 3 MiB, in the middle of a piece of 5 MiB.
	cure := path.Poison(t, "limit_data", "downstream", map[string]any{"bytes": 3 << 20})
	wantWhole(t, s, large, 8*part)
	wantWhole(t, s, small, 4<<20)
	cure()
	// Each connection ends before it has said anything.
	cure = path.Poison(t, "limit_data", "downstream", map[string]any{"bytes": 0})
	for name, o := range map[string]store.Object{"small": small, "large": large} {
		if _, err := get(s, o); !errors.Is(err, store.ErrUnreachable) {
			t.Errorf("download of %s: %v", name, err)
		}
	}
	cure()

	cure = path.Poison(t, "limit_data", "upstream", map[string]any{"bytes": 3 << 20})
	for name, size := range map[string]int64{"small": 4 << 20, "large": 2*part + 1} {
		if err := try(s, "p/new", size); !errors.Is(err, store.ErrUnreachable) {
			t.Errorf("upload of %s: %v", name, err)
		}
	}
	cure()
	if _, err := s.Stat(t.Context(), "p/new"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("something was published: %v", err)
	}

	cure = path.Poison(t, "reset_peer", "downstream", map[string]any{"timeout": 0})
	if err := s.CheckBucket(t.Context()); !errors.Is(err, store.ErrUnreachable) {
		t.Errorf("reset: %v", err)
	}
	cure()
	wantWhole(t, s, small, 4<<20)
}

func TestAbortUploads(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...testenv.Option) *testenv.Server{
		"minio": testenv.MinIO, "versitygw": testenv.Versitygw, "rclone": testenv.RcloneS3,
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t)
			bucket := srv.NewBucket(t, false)
			s := open(t, config(srv, bucket))
			client := srv.Client(t)
			for _, key := range []string{"p/a", "p/ü b", "q/a"} {
				id, err := client.NewMultipartUpload(t.Context(), bucket, key, putOptions())
				if err != nil {
					t.Fatal(err)
				}
				_, err = client.PutObjectPart(t.Context(), bucket, key, id, 1, bytes.NewReader(content(part)), part, minio.PutObjectPartOptions{})
				if err != nil {
					t.Fatal(err)
				}
			}
			if n := unfinished(t, srv, bucket); n != 3 {
				t.Fatalf("%d unfinished uploads are seen, want 3", n)
			}
			listed := 2
			if name == "rclone" {
				listed = 0 // it does not list them, so nobody can tidy up
			}
			if n, err := s.AbortUploads(t.Context(), "p/", time.Hour); n != 0 || err != nil {
				t.Errorf("young ones: %d, %v", n, err)
			}
			if n, err := s.AbortUploads(t.Context(), "p/", -time.Hour); n != listed || err != nil {
				t.Errorf("AbortUploads = %d, %v; want %d", n, err, listed)
			}
			if n := unfinished(t, srv, bucket); n != 3-listed {
				t.Errorf("%d unfinished uploads are left, want %d", n, 3-listed)
			}
			if n, err := s.AbortUploads(t.Context(), "none/", -time.Hour); n != 0 || err != nil {
				t.Errorf("where there are none: %d, %v", n, err)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func listing(s store.Store) (err error) {
	for _, err = range s.List(context.Background(), "p/") {
	}
	return err
}
