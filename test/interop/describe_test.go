package interop

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"
)

// entry is what must come back of a path.
type entry struct {
	Mode     fs.FileMode // with the type
	UID, GID uint32
	MTime    string // seconds and nanoseconds; none for folders
	Content  string // of a file, or the target of a link
}

// describe reads a volume. What is ours in it is left out, and so is the time
// of folders, which says when their lists of names last changed, and restoring
// the names changes it.
func (n *node) describe() map[string]entry {
	n.t.Helper()
	found, err := n.tryDescribe()
	n.check(err)
	return found
}

// tryDescribe is describe for a volume that may be changing.
func (n *node) tryDescribe() (map[string]entry, error) {
	found := map[string]entry{}
	err := filepath.WalkDir(n.volume, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == n.volume {
			return err
		}
		name := path[len(n.volume)+1:]
		if name == ".minio-sidecar" {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		e := entry{Mode: info.Mode(), UID: st.Uid, GID: st.Gid}
		if !d.IsDir() {
			e.MTime = describeTime(time.Unix(int64(st.Mtim.Sec), int64(st.Mtim.Nsec)))
		}
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			e.Content = string(content)
			if len(content) > 256 {
				e.Content = fmt.Sprintf("%d bytes, %x", len(content), sha256.Sum256(content))
			}
		case info.Mode()&fs.ModeSymlink != 0:
			if e.Content, err = os.Readlink(path); err != nil {
				return err
			}
		}
		found[name] = e
		return nil
	})
	return found, err
}

// links are the symbolic links of the volume.
func (n *node) links() map[string]entry {
	n.t.Helper()
	found := map[string]entry{}
	for name, e := range n.describe() {
		if e.Mode&fs.ModeSymlink != 0 {
			found[name] = e
		}
	}
	return found
}

// wantVolume compares entry by entry.
func (n *node) wantVolume(want map[string]entry) {
	n.t.Helper()
	if diff := cmp.Diff(want, n.describe()); diff != "" {
		n.t.Errorf("the volume is not as it should be (- wanted, + found):\n%s", diff)
	}
}

func describeTime(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }
