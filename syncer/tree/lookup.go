package tree

import (
	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// Lookup tells what is at path (a '/' at its end does not matter). ok is false
// where there is nothing: also when a parent is missing, a file or a symbolic
// link. An error means that it is not known whether there is something.
//
// marked is false only for a directory that needs no object of its own,
// because the files in it and the defaults say all of it; see [Tree.Scan].
func (t *Tree) Lookup(path string) (l entry.Local, marked, ok bool, err error) {
	path = entry.Path(path)
	if err := ValidKey(path); err != nil {
		return entry.Local{}, false, false, failed("look at", path, err)
	}
	l, marked, err = t.lookup(path)
	switch {
	case err == nil:
		return l, marked, true, nil
	case err == unix.ENOENT, err == unix.ENOTDIR, err == unix.ELOOP:
		return entry.Local{}, false, false, nil
	}
	return entry.Local{}, false, false, failed("look at", path, err)
}

func (t *Tree) lookup(path string) (l entry.Local, marked bool, err error) {
	parent, name, err := t.root.Parent(path)
	if err != nil {
		return l, false, err
	}
	defer parent.Close()
	var st unix.Statx_t
	if err := beneath.Lstat(parent.FD, name, &st); err != nil {
		return l, false, err
	}
	switch fileKind(st.Mode) {
	case entry.Symlink:
		l = makeLocal(path, &st)
		l.Target, err = readlink(parent.FD, name, l.Size)
		return l, true, err
	case entry.Dir:
		return t.lookupDir(parent.FD, name, dirKey(path), &st)
	}
	return makeLocal(path, &st), true, nil
}

func (t *Tree) lookupDir(parent int, name, key string, st *unix.Statx_t) (entry.Local, bool, error) {
	fd, l, passing, err := t.enter(parent, name, key, st)
	if err != nil || fd < 0 {
		return l, true, err
	}
	defer unix.Close(fd)
	none := true
	err = beneath.ReadDir(fd, make([]byte, 1024), func([]byte, beneath.Type) bool {
		none = false
		return false
	})
	if err != nil {
		return entry.Local{}, false, err
	}
	return l, !passing && (none || !l.Attrs.SameDir(t.plain)), nil
}

// enter opens the directory name for reading. Where that is not allowed, or
// where another file system begins, the descriptor is -1 and the entry says
// why nothing is known of what is below. st may be nil. passing: it is being
// made for what will be in it; see [passages].
func (t *Tree) enter(parent int, name, key string, st *unix.Statx_t) (fd int, l entry.Local, passing bool, err error) {
	fd, err = beneath.Child(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == nil {
		passing = t.passages.has(key)
		// "." and not the descriptor itself: this takes the right to search the
		// directory, without which its entries have names but nothing else.
		var now unix.Statx_t
		if err = beneath.Lstat(fd, ".", &now); err == nil {
			if now.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 && beneath.SameDevice(&now, &t.self) {
				return fd, makeLocal(key, &now), passing, nil
			}
			unix.Close(fd)
			return -1, opaque(key, &now, ReasonMount), false, nil
		}
		unix.Close(fd)
	}
	switch err {
	case unix.EACCES, unix.EPERM, unix.EIO, unix.ESTALE, unix.ENOTCONN:
		if st == nil {
			var now unix.Statx_t
			if beneath.Lstat(parent, name, &now) == nil {
				st = &now
			}
		}
		return -1, opaque(key, st, "the directory cannot be read: "+err.Error()), false, nil
	}
	return -1, entry.Local{}, false, err
}

// readlink reads a symbolic link's target; size is what lstat said of it.
func readlink(dirfd int, name string, size int64) (string, error) {
	for n := int(size) + 1; ; n *= 2 {
		buf := make([]byte, n)
		got, err := unix.Readlinkat(dirfd, name, buf)
		if err == unix.EINVAL {
			err = unix.ENOENT // a link no more: it was replaced
		}
		if err != nil {
			return "", err
		}
		if got < n {
			return string(buf[:got]), nil
		}
	}
}
