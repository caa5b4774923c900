package tree

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// dress gives the open file or directory fd, which looks like st, the owner
// and the permission bits of a, as far as this process may. Bits that lend out
// the owner's or the group's rights are left off where the owner or the group
// could not be set: they would lend out somebody else's.
func (t *Tree) dress(fd int, st *unix.Statx_t, a entry.Attrs) error {
	perm, uid, gid := a.Perm&0o7777, st.Uid, st.Gid
	chowned := uid != a.UID || gid != a.GID
	if chowned {
		var err error
		if uid, gid, err = chown(fd, "", st, a); err != nil {
			return err
		}
	}
	if uid != a.UID {
		perm &^= unix.S_ISUID
	}
	if gid != a.GID && fileKind(st.Mode) != entry.Dir {
		perm &^= unix.S_ISGID // on a directory it lends nothing out
	}
	// chown(2) takes the setuid and setgid bits away.
	if uint32(st.Mode)&0o7777 == perm && !(chowned && perm&(unix.S_ISUID|unix.S_ISGID) != 0) {
		return nil
	}
	err := unix.Fchmod(fd, perm)
	if err == unix.EBADF { // opened by O_PATH: a directory that we may not read
		err = unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), perm)
	}
	return tolerate(err)
}

// chown sets the owner of the entry name of dirfd (of dirfd itself if name is
// empty) as far as that is allowed, and tells who the owner is then. Without
// the right to give files away one may still choose among one's own groups.
func chown(dirfd int, name string, st *unix.Statx_t, a entry.Attrs) (uid, gid uint32, err error) {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	err = unix.Fchownat(dirfd, name, int(a.UID), int(a.GID), flags)
	if err == nil {
		return a.UID, a.GID, nil
	}
	if tolerate(err) == nil && st.Gid != a.GID {
		if err = unix.Fchownat(dirfd, name, -1, int(a.GID), flags); err == nil {
			return st.Uid, a.GID, nil
		}
	}
	return st.Uid, st.Gid, tolerate(err)
}

// inside runs change, which makes, renames or removes an entry of the directory
// dir, also where its mode forbids that but we own it, as an app does with
// folders that it shields from itself. The mode is lent for the moment. A kill
// in that moment leaves the folder with the mode that it lent: the price of not
// leaving the app with an old file.
func (t *Tree) inside(dir int, change func() error) error {
	err := change()
	if err != unix.EACCES {
		return err
	}
	t.making.Lock()
	defer t.making.Unlock()
	return t.lend(dir, change)
}

// lend is inside for who holds t.making, by which nobody else sets the mode of
// a folder meanwhile.
func (t *Tree) lend(dir int, change func() error) error {
	err := change()
	if err != unix.EACCES {
		return err
	}
	var st unix.Statx_t
	if beneath.Lstat(dir, "", &st) != nil || st.Mode&writeInto == writeInto {
		return err
	}
	mode := uint32(st.Mode) & 0o7777
	// The directory may have been opened as a mere place (O_PATH).
	self := fmt.Sprintf("/proc/self/fd/%d", dir)
	if unix.Chmod(self, mode|writeInto) != nil {
		return err
	}
	err = change()
	if back := unix.Chmod(self, mode); err == nil {
		err = back
	}
	return err
}

// writeInto is what its owner needs to change what is in a folder.
const writeInto = 0o300

// tolerate turns "not allowed" and "this file system or user namespace knows
// no such thing" into no error: the attribute stays as it is.
func tolerate(err error) error {
	switch err {
	case unix.EPERM, unix.EACCES, unix.EINVAL, unix.EOPNOTSUPP, unix.EOVERFLOW, unix.ENOSYS:
		return nil
	}
	return err
}

// setTimes sets the mtime of the entry name of dirfd and leaves its atime.
func setTimes(dirfd int, name string, mtime entry.Time) error {
	return tolerate(utimensat(dirfd, name, mtime))
}
