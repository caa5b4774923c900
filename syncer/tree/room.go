package tree

import "golang.org/x/sys/unix"

// Free is how many bytes the volume's file system has left for this process.
func (t *Tree) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(t.tmpFD(), &st); err != nil {
		return 0, failed("look at the room in", t.path, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}
