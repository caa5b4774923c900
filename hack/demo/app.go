package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// write plays the app: it fills dir with the kinds of files that apps have.
func write(dir string) error {
	random := rand.NewChaCha8([32]byte{'d', 'e', 'm', 'o'})
	put := func(name string, size int, mode fs.FileMode) error {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		content := make([]byte, size)
		_, _ = random.Read(content) // never fails
		if err := os.WriteFile(path, content, mode); err != nil {
			return err
		}
		return os.Chmod(path, mode) // whatever the umask says
	}

	for i := range 500 {
		if err := put(fmt.Sprintf("photos/2026/%02d/img-%03d.jpg", i%12+1, i), 2000+i*40, 0o644); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		size int
		mode fs.FileMode
	}{
		{"video.mp4", 64 << 20, 0o644},
		{"empty.txt", 0, 0o644},
		{"secret.pem", 1700, 0o600},
		{"bin/resize", 4000, 0o755},
		{"notes/Zürich – Frühling 2026.md", 900, 0o644},
	} {
		if err := put(f.name, f.size, f.mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "inbox"), 0o755); err != nil {
		return err
	}
	if err := os.Symlink("photos/2026/12", filepath.Join(dir, "latest")); err != nil {
		return err
	}
	old := time.Date(1999, 12, 31, 23, 59, 59, 123456789, time.UTC)
	return os.Chtimes(filepath.Join(dir, "notes/Zürich – Frühling 2026.md"), old, old)
}

// fact is all that must be the same about a path on another node.
type fact struct {
	mode    fs.FileMode
	size    int64
	mtime   time.Time
	content [sha256.Size]byte // of a file, or of a link's target
}

// facts looks at everything in dir with its own eyes.
func facts(dir string) (map[string]fact, error) {
	all := map[string]fact{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		if name == filepath.Clean(contract.Reserved) {
			return fs.SkipDir
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		f := fact{mode: info.Mode()}
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			f.size, f.mtime, f.content = info.Size(), info.ModTime(), sha256.Sum256(content)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			f.content = sha256.Sum256([]byte(target))
		}
		all[name] = f
		return nil
	})
	return all, err
}

// same returns nil if two nodes have the same files, and otherwise what differs.
func same(one, other string) (int, error) {
	a, err := facts(one)
	if err != nil {
		return 0, err
	}
	b, err := facts(other)
	if err != nil {
		return 0, err
	}
	var differences bytes.Buffer
	for name, f := range a {
		g, ok := b[name]
		switch {
		case !ok:
			fmt.Fprintf(&differences, "\n  %s is missing in %s", name, other)
		case f.mode != g.mode:
			fmt.Fprintf(&differences, "\n  %s: mode %v, then %v", name, f.mode, g.mode)
		case f.size != g.size || f.content != g.content:
			fmt.Fprintf(&differences, "\n  %s: other content", name)
		case !f.mtime.Equal(g.mtime):
			fmt.Fprintf(&differences, "\n  %s: modified at %v, then %v", name, f.mtime, g.mtime)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			fmt.Fprintf(&differences, "\n  %s is in %s only", name, other)
		}
	}
	if differences.Len() > 0 {
		return 0, fmt.Errorf("the nodes differ:%s", differences.String())
	}
	return len(a), nil
}
