//go:build arm || 386

package tree

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// timespec64 is struct __kernel_timespec.
type timespec64 struct{ sec, nsec int64 }

// utimensat uses the system call with 64-bit seconds (Linux 5.1), because
// those of the old one end in 2038. On older kernels it does the old one's best.
func utimensat(dirfd int, name string, mtime entry.Time) error {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	ts := [2]timespec64{{nsec: unix.UTIME_OMIT}, {sec: mtime.Sec, nsec: int64(mtime.Nsec)}}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT_TIME64, uintptr(dirfd), uintptr(unsafe.Pointer(path)),
		uintptr(unsafe.Pointer(&ts)), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
	if errno == unix.ENOSYS {
		return unix.UtimesNanoAt(dirfd, name, []unix.Timespec{
			{Nsec: unix.UTIME_OMIT},
			{Sec: int32(mtime.Sec), Nsec: mtime.Nsec},
		}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if errno != 0 {
		return errno
	}
	return nil
}
