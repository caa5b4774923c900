package s3_test

import (
	"bytes"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/store/s3"
)

type sink []byte

func (s sink) WriteAt(b []byte, off int64) (int, error) { return copy(s[off:], b), nil }

func TestSmoke(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...testenv.Option) *testenv.Server{
		"minio": testenv.MinIO, "versitygw": testenv.Versitygw, "rclone": testenv.RcloneS3,
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t)
			s, err := s3.New(s3.Config{Endpoint: srv.Endpoint, Bucket: srv.NewBucket(t, false), CredentialsDir: srv.CredentialsDir(t)})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.CheckBucket(t.Context()); err != nil {
				t.Fatal(err)
			}
			a, err := s.Abilities(t.Context(), "p/")
			t.Logf("%+v %v", a, err)
			for _, size := range []int64{0, 1, 5000, 8 << 20, 8<<20 + 1, 70 << 20} {
				b := bytes.Repeat([]byte("0123456789abcdef"), int(size/16)+1)[:size]
				o, err := s.Upload(t.Context(), store.Upload{Key: "p/x", Body: bytes.NewReader(b), Size: size, Metadata: map[string]string{"mtime": "1.5"}})
				if err != nil {
					t.Errorf("%d: %v", size, err)
					continue
				}
				got := make(sink, size)
				d, err := s.Download(t.Context(), "p/x", o.ETag, size, got)
				if err != nil || !bytes.Equal(got, b) {
					t.Errorf("%d: %v %v", size, d, err)
				}
			}
			for o, err := range s.List(t.Context(), "p/") {
				t.Logf("%+v %v", o, err)
			}
		})
	}
}
