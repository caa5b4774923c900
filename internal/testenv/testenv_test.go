package testenv_test

import (
	"bytes"
	"os"
	"strconv"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

func TestServers(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...testenv.Option) *testenv.Server{
		"minio": testenv.MinIO, "versitygw": testenv.Versitygw, "rclone": testenv.RcloneS3,
		"minio over https": func(t testing.TB, _ ...testenv.Option) *testenv.Server {
			return testenv.MinIO(t, testenv.WithTLS())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			bucket := s.NewBucket(t, false)
			client := s.Client(t)
			body := []byte("kept over a restart")
			if _, err := client.Client.PutObject(t.Context(), bucket, "a", bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{}); err != nil {
				t.Fatal(err)
			}
			pid := s.Pid()
			s.Stop(t)
			if _, err := client.ListBuckets(t.Context()); err == nil {
				t.Error("a stopped server answered")
			}
			if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err == nil {
				t.Errorf("process %d is still there", pid)
			}
			s.Start(t)
			info, err := client.StatObject(t.Context(), bucket, "a", minio.StatObjectOptions{})
			if err != nil || info.Size != int64(len(body)) {
				t.Errorf("after a restart: %v, %v", info.Size, err)
			}
		})
	}
}
