package tree

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// File is an open regular file. ReadAt may be called concurrently, and a
// ReadAt after Close fails instead of reading another file.
type File struct {
	f    *os.File
	path string
}

// OpenFile opens the regular file at path for reading. It follows no symbolic
// link, neither waits for a FIFO's other end nor wakes a device
// ([ErrNotRegular]), and leaves the access time alone where it may.
func (t *Tree) OpenFile(path string) (*File, error) {
	if err := ValidKey(path); err != nil {
		return nil, failed("open", path, err)
	}
	parent, name, err := t.root.Parent(path)
	if err != nil {
		return nil, failed("open", path, err)
	}
	defer parent.Close()
	var st unix.Statx_t
	if err := beneath.Lstat(parent.FD, name, &st); err != nil {
		return nil, failed("open", path, err)
	}
	if fileKind(st.Mode) != entry.File {
		return nil, failed("open", path, ErrNotRegular)
	}
	// What was a file a moment ago may be a FIFO now: hence O_NONBLOCK, and
	// another look at what was opened.
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := beneath.Child(parent.FD, name, flags|unix.O_NOATIME)
	if err == unix.EPERM { // O_NOATIME is for the owner
		fd, err = beneath.Child(parent.FD, name, flags)
	}
	if err != nil {
		return nil, failed("open", path, err)
	}
	f := &File{f: os.NewFile(uintptr(fd), path), path: path}
	l, err := f.Stat()
	if err == nil && l.Kind != entry.File {
		err = failed("open", path, ErrNotRegular)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadAt is [io.ReaderAt].
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// Stat is the open file as it is now, whatever is at its path by now. On
// kernels before 6.13 two changes within a few milliseconds get the same time
// stamps: see [Racy].
func (f *File) Stat() (entry.Local, error) {
	var st unix.Statx_t
	if err := statFile(f.f, &st); err != nil {
		return entry.Local{}, failed("look at", f.path, err)
	}
	return makeLocal(f.path, &st), nil
}

// Settle makes stores through a writable mapping show in the time stamps
// again. It is best effort, and costs the write-out of what is dirty.
//
// The kernel notices a store to a mapped page only by the page fault of the
// first one after the page was clean; that fault updates mtime and ctime
// (page_mkwrite → file_update_time on ext4, XFS and Btrfs). Later stores to a
// page that is dirty already are invisible. Write-out cleans a page and
// write-protects it first, so the next store faults again.
// SYNC_FILE_RANGE_WRITE starts that write-out; WAIT_BEFORE is needed as well,
// because a page that is under write-out already would otherwise be passed
// over, though it may have become dirty again. Nobody waits for the disk to
// have the data.
//
// It does nothing on tmpfs, which has no write-out: there only the first store
// to a page touches the time stamps ([Tree.Unstamped]), a change of size and an
// ordinary write. Nor does inotify tell of stores through a mapping anywhere.
func (f *File) Settle() error {
	conn, err := f.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("settle %s: %w", f.path, err)
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		result = unix.SyncFileRange(int(fd), 0, 0, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE)
	})
	if err == nil {
		err = result
	}
	return failed("settle", f.path, err)
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

func statFile(f *os.File, st *unix.Statx_t) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) { result = beneath.Lstat(int(fd), "", st) })
	if err == nil {
		err = result
	}
	return err
}
