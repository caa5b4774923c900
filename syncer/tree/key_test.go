package tree

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestValidKey(t *testing.T) {
	long := strings.Repeat("n", 255)
	for _, key := range []string{
		"a", "a/", "a/b", "a/b/", ".hidden", "..a", "a..", "...", "a b", " a", "a ", "-a", "a\nb", "a\\b", "a%2Fb", "a+b",
		"\xff\xfe", "é", "e\u0301", "a/.minio-sidecar", "a/.minio-sidecar/b", ".minio-sidecars", ".minio-sidecar.old/a",
		long, long + "/" + long, strings.Repeat("d/", 511) + "f", "C:", "a:b", "~",
	} {
		if err := ValidKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{
		"", "/", "//", "/a", "a//b", "a//", "//a", ".", "..", "./", "../", "./a", "../a", "a/.", "a/..", "a/./b", "a/../b", "a/../../b",
		"a\x00", "\x00", "a/\x00/b", ".minio-sidecar", ".minio-sidecar/", ".minio-sidecar/tmp/x", long + "n", "a/" + long + "n/b",
	} {
		err := ValidKey(key)
		if !errors.Is(err, ErrInvalidKey) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// What passes stays inside, is not the reserved folder's, and is its own
// canonical form, so that no two keys are the same path.
func FuzzValidKey(f *testing.F) {
	for _, key := range []string{"a", "a/b/", "../a", "a/../../etc/passwd", "/etc", "a//b", ".minio-sidecar/x", "a/\x00", "./a", "a/.", "..", "a\\..\\b", ".minio-sidecar"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if ValidKey(key) != nil {
			return
		}
		path := strings.TrimSuffix(key, "/")
		if !filepath.IsLocal(path) {
			t.Errorf("%q is not local", key)
		}
		const root = "/the/root"
		joined := filepath.Join(root, path)
		if joined != root+"/"+path {
			t.Errorf("%q joins to %q", key, joined)
		}
		if joined == root+"/.minio-sidecar" || strings.HasPrefix(joined, root+"/.minio-sidecar/") {
			t.Errorf("%q is in the reserved folder", key)
		}
		if strings.IndexByte(key, 0) >= 0 {
			t.Errorf("%q has a NUL", key)
		}
	})
}
