package tree

import (
	"crypto/rand"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// openTmp makes this process's own folder for temporary files, locked for as
// long as its descriptor is open, notes its name, and removes the folders that
// nobody holds a lock on: those of processes that crashed. (restore, sync and
// verify may have the volume open at the same time.)
func (t *Tree) openTmp(reserved int) (int, error) {
	if err := unix.Mkdirat(reserved, tmpName, 0o700); err != nil && err != unix.EEXIST {
		return -1, fmt.Errorf("make %s/%s: %w", reservedName, tmpName, err)
	}
	all, err := beneath.Child(reserved, tmpName, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1, fmt.Errorf("open %s/%s: %w", reservedName, tmpName, err)
	}
	defer unix.Close(all)
	removeStale(all)
	for range 10 {
		name := rand.Text()
		if err := unix.Mkdirat(all, name, 0o700); err != nil {
			return -1, fmt.Errorf("make a folder in %s/%s: %w", reservedName, tmpName, err)
		}
		fd, err := beneath.Child(all, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("open %s/%s/%s: %w", reservedName, tmpName, name, err)
		}
		// Another process that opens the volume at this moment may have taken
		// the folder for a stale one before it was locked.
		_ = unix.Flock(fd, unix.LOCK_EX)
		var st unix.Statx_t
		if err := beneath.Lstat(all, name, &st); err != nil {
			unix.Close(fd)
			continue
		}
		t.tmpName = name
		return fd, nil
	}
	return -1, fmt.Errorf("make a folder in %s/%s: it keeps vanishing", reservedName, tmpName)
}

// renewTmp makes the folder for temporary files anew if it is not where it was.
// The new one takes the number of the old one's descriptor, which others may
// be using at this moment.
func (t *Tree) renewTmp(reserved int) (renewed bool, err error) {
	var at, st unix.Statx_t
	if err := beneath.Lstat(t.tmpFD(), "", &st); err != nil {
		return false, err
	}
	if all, err := beneath.Child(reserved, tmpName, unix.O_PATH|unix.O_DIRECTORY); err == nil {
		err = beneath.Lstat(all, t.tmpName, &at)
		unix.Close(all)
		if err == nil && at.Ino == st.Ino {
			return false, nil
		}
	}
	fd, err := t.openTmp(reserved)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	return true, unix.Dup3(fd, t.tmpFD(), unix.O_CLOEXEC)
}

func (t *Tree) closeTmp() {
	if t.tmp == nil {
		return
	}
	empty(int(t.tmp.Fd()))
	if fd, err := t.root.Open(reservedName+"/"+tmpName, unix.O_PATH|unix.O_DIRECTORY); err == nil {
		_ = unix.Unlinkat(fd, t.tmpName, unix.AT_REMOVEDIR)
		unix.Close(fd)
	}
	t.tmp.Close()
}

// removeStale removes what crashed processes left. What cannot be removed is
// in nobody's way.
func removeStale(all int) {
	for _, name := range names(all) {
		fd, err := beneath.Child(all, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			_ = unix.Unlinkat(all, name, 0)
			continue
		}
		if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
			empty(fd)
			_ = unix.Unlinkat(all, name, unix.AT_REMOVEDIR)
		}
		unix.Close(fd)
	}
}

// empty removes the files, links and empty directories in dir; temporary
// things are never more than that.
func empty(dir int) {
	for _, name := range names(dir) {
		if unix.Unlinkat(dir, name, 0) == unix.EISDIR {
			_ = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
		}
	}
}

func names(dir int) []string {
	var all []string
	_ = beneath.ReadDir(dir, make([]byte, 32<<10), func(name []byte, _ beneath.Type) bool {
		all = append(all, string(name))
		return true
	})
	return all
}

// tempName is a name that is new in the process's folder.
func (t *Tree) tempName() string { return strconv.FormatUint(t.serial.Add(1), 36) }
