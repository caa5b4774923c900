package interop

import (
	"crypto/md5" // ETags of small objects are MD5s
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/google/go-cmp/cmp"
)

// awaitEqual waits until the bucket has what the volume has, and then asks
// rclone whether that is so. It causes no scan.
func (n *node) awaitEqual() {
	n.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		s, err := n.status()
		n.check(err)
		if s.Pending > 0 && time.Now().Before(deadline) {
			continue // looking takes longer than asking
		}
		diff := cmp.Diff(n.inVolume(), n.inBucket())
		if diff == "" {
			break
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("bucket and volume never become equal (- volume, + bucket):\n%s\nstatus: %+v", diff, s)
		}
	}
	if err := n.rcloneCheck(); err != nil {
		n.t.Error(err)
	}
}

// inVolume is what the bucket should have: by path, the MD5 of a file's content
// or of a link's target, and "folder" for a folder with nothing in it.
func (n *node) inVolume() map[string]string {
	n.t.Helper()
	want := map[string]string{}
	entries := n.describe()
	for _, path := range slices.Sorted(maps.Keys(entries)) {
		e := entries[path]
		switch {
		case e.Mode.IsDir():
			want[path+"/"] = "folder"
		case e.Mode&os.ModeSymlink != 0:
			want[path] = sum([]byte(e.Content))
		case e.Mode.IsRegular():
			content, err := os.ReadFile(n.path(path))
			if err != nil {
				content = fmt.Appendf(nil, "%v", err) // it has gone; look again
			}
			want[path] = sum(content)
		default:
			continue
		}
		for i := range len(path) {
			if path[i] == '/' {
				delete(want, path[:i+1]) // it has something in it
			}
		}
	}
	return want
}

func sum(content []byte) string {
	s := md5.Sum(content)
	return hex.EncodeToString(s[:])
}

// inBucket is the same, as the bucket has it. An object for a folder that has
// others in it means no more than those do.
func (n *node) inBucket() map[string]string {
	n.t.Helper()
	found := map[string]string{}
	for o := range n.server.Client(n.t).ListObjectsIter(n.t.Context(), n.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		n.check(o.Err)
		path := o.Key[len(prefix):]
		switch {
		case isOurs(path):
		case strings.HasSuffix(path, "/"):
			found[path] = "folder"
		default:
			found[path] = o.ETag
		}
	}
	for path := range found {
		for i := range len(path) - 1 {
			if path[i] == '/' {
				delete(found, path[:i+1])
			}
		}
	}
	return found
}

// fileObjects are the keys of all objects but ours and those of folders.
func (n *node) fileObjects() []string {
	n.t.Helper()
	return slices.Sorted(func(yield func(string) bool) {
		for path, what := range n.inBucket() {
			if what != "folder" && !yield(path) {
				return
			}
		}
	})
}
