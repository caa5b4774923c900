package interop

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// A bit flips in one of the parts of a large object, on the disk of the store.
// Who restores is told so, by code and by name, gets nothing under the file's
// name, and is told so again however often he asks; until somebody has brought
// the object back.
func TestRottenPart(t *testing.T) {
	const large, mark = "deep/large.bin", "these bytes will rot"
	l := newLab(t, testenv.MinIO(t))
	from := l.node()
	content := bytes.Repeat([]byte("0123456789abcdef"), 24<<20/16)
	copy(content[20<<20:], mark)
	from.write(large, string(content))
	from.write("small", "sound")
	from.start()
	from.stop()
	l.flip(large, mark)

	to := l.node()
	to.wantDamaged(large)
	to.wantDamaged(large) // and again

	l.mc("cp", from.path(large), l.mcRemote()+large)
	to.restore()
	got, want := to.describe(), from.describe()
	for _, path := range []string{large, "small"} {
		if got[path].Content != want[path].Content {
			t.Errorf("%s came back as %q, want %q", path, got[path].Content, want[path].Content)
		}
	}
}

// wantDamaged has a restore end in the exit code for damage, with the name, and
// with nothing under it.
func (n *node) wantDamaged(path string) {
	n.t.Helper()
	cmd := n.command("restore")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != contract.ExitDamaged || !strings.Contains(complaint.String(), path) {
		n.t.Errorf("restore: %v, want code %d and the name:\n%s", err, contract.ExitDamaged, complaint.Bytes())
	}
	n.wantNothingOf(path)
}

// flip changes a bit behind mark in one of the files in which the store keeps
// the object, and nothing else of that file, as a disk does.
func (l *lab) flip(path, mark string) {
	l.t.Helper()
	flipped := 0
	l.check(filepath.WalkDir(filepath.Join(l.server.DataDir, l.bucket, prefix, path), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		at := bytes.Index(content, []byte(mark))
		if at < 0 {
			return nil
		}
		flipped++
		info, err := d.Info()
		if err != nil {
			return err
		}
		f, err := os.OpenFile(p, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte{content[at] ^ 1}, int64(at))
		return errors.Join(err, f.Close(), os.Chtimes(p, info.ModTime(), info.ModTime()))
	}))
	if flipped != 1 {
		l.t.Fatalf("flipped a bit in %d files, want 1", flipped)
	}
}

// wantNothingOf checks that there is nothing at the path, nor a piece of it
// among what is ours.
func (n *node) wantNothingOf(path string) {
	n.t.Helper()
	if _, err := os.Lstat(n.path(path)); !errors.Is(err, fs.ErrNotExist) {
		n.t.Errorf("there is something at %s: %v", path, err)
	}
	if left, err := filepath.Glob(n.path(".minio-sidecar/tmp/*/*")); err != nil || len(left) > 0 {
		n.t.Errorf("left behind: %v, %v", left, err)
	}
}
