package tree

import (
	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// Born is when what is at path was made, by the clock that stamps files. It is
// the zero time where there is nothing, or the file system does not say.
func (t *Tree) Born(path string) entry.Time {
	path = entry.Path(path)
	if ValidKey(path) != nil {
		return entry.Time{}
	}
	parent, name, err := t.root.Parent(path)
	if err != nil {
		return entry.Time{}
	}
	defer parent.Close()
	var st unix.Statx_t
	if beneath.Lstat(parent.FD, name, &st) != nil || st.Mask&unix.STATX_BTIME == 0 {
		return entry.Time{}
	}
	return entry.Time{Sec: st.Btime.Sec, Nsec: int32(st.Btime.Nsec)}
}
