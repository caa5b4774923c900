//go:build !arm && !386

package tree

import (
	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

func utimensat(dirfd int, name string, mtime entry.Time) error {
	return unix.UtimesNanoAt(dirfd, name, []unix.Timespec{
		{Nsec: unix.UTIME_OMIT},
		{Sec: mtime.Sec, Nsec: int64(mtime.Nsec)},
	}, unix.AT_SYMLINK_NOFOLLOW)
}
