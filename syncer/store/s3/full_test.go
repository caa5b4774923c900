package s3_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// A disk without room is neither the network's fault nor the object's, and
// what was there stays readable.
func TestStoreFull(t *testing.T) {
	wants := map[string]error{
		"minio": store.ErrFull, "versitygw": store.ErrFull,
		// Says no more than "internal error".
		"rclone": store.ErrUnreachable,
	}
	for name, start := range map[string]func(testing.TB, ...testenv.Option) *testenv.Server{
		"minio": testenv.MinIO, "versitygw": testenv.Versitygw, "rclone": testenv.RcloneS3,
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, testenv.WithDisk("96m"))
			bucket := srv.NewBucket(t, false)
			s := open(t, config(srv, bucket))
			first := put(t, s, "p/first", 4<<20)
			n := 0
			eventually(t, "full", func() error {
				n++
				err := try(s, fmt.Sprintf("p/more-%d", n), single)
				if errors.Is(err, wants[name]) {
					return nil
				}
				// MinIO learns of it within a second, and until then says what
				// the kernel told it, with the code of any other trouble.
				if err != nil && !errors.Is(err, store.ErrUnreachable) {
					t.Errorf("upload %d: %v", n, err)
				}
				return fmt.Errorf("%d objects of 8 MiB on a disk of 96 MiB: %v", n, err)
			})
			if n < 8 {
				t.Errorf("full after %d objects", n)
			}
			if err := try(s, "p/large", 15*part); err == nil || name != "rclone" && !errors.Is(err, store.ErrFull) {
				t.Errorf("large: %v", err)
			}
			wantWhole(t, s, first, 4<<20)
			if err := s.Delete(t.Context(), "p/more-1", ""); err != nil {
				t.Errorf("delete: %v", err)
			}
			for i := range 2 {
				srv.MakeRoom(t, bucket, fmt.Sprintf("p/more-%d", i+2))
			}
			eventually(t, "room again", func() error { return try(s, "p/late", 1<<20) })
		})
	}
}
