package syncer

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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

func listAll() minio.ListObjectsOptions {
	return minio.ListObjectsOptions{Recursive: true}
}
func removeOptions() minio.RemoveObjectOptions { return minio.RemoveObjectOptions{} }
func makeOptions() minio.MakeBucketOptions     { return minio.MakeBucketOptions{} }

// mountSmall mounts a tmpfs of this size at dir until the test ends, or takes it
// away itself.
func mountSmall(t *testing.T, dir, size string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil && err != syscall.EINVAL {
			t.Error(err)
		}
	})
}

// rot flips bytes in every data file of an object as MinIO keeps it on disk.
func rot(t *testing.T, dir string) {
	t.Helper()
	var flipped int
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if at := bytes.Index(content, []byte("will rot")); at >= 0 {
			content[at] ^= 1
			flipped++
			return os.WriteFile(p, content, 0o600)
		}
		return nil
	})
	if err != nil || flipped == 0 {
		t.Fatalf("flipped a byte in %d files below %s: %v", flipped, dir, err)
	}
}

// get reads an object as any client does.
func (r *rig) get(t *testing.T, key string) []byte {
	t.Helper()
	obj, err := r.server.Client(t).Client.GetObject(t.Context(), r.bucket, key, getOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	content, err := io.ReadAll(obj)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
