package tree

import (
	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// Mkdir makes the directory path, with its parents, and sets its attributes;
// if it exists only the latter. [ErrBlocked]: something else is there, or
// where a parent is needed. As with [Temp.Commit], the entry that is returned
// has the attributes that could be set. Its mtime lasts until an entry in it
// comes or goes, so directories are best done after what is in them; those
// that this process may not write to as well.
func (t *Tree) Mkdir(path string, a entry.Attrs) (entry.Local, error) {
	path = entry.Path(path)
	if err := ValidKey(path); err != nil {
		return entry.Local{}, failed("make folder", path, err)
	}
	l, err := t.mkdir(path, a)
	return l, failed("make folder", path, err)
}

func (t *Tree) mkdir(path string, a entry.Attrs) (entry.Local, error) {
	parent, base, err := t.parentFor(path)
	if err != nil {
		return entry.Local{}, err
	}
	defer parent.Close()
	t.making.Lock()
	defer t.making.Unlock()
	err = t.lend(parent.FD, func() error { return unix.Mkdirat(parent.FD, base, 0o700) })
	if err != nil && err != unix.EEXIST {
		return entry.Local{}, err
	}
	fd, err := beneath.Child(parent.FD, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == unix.EACCES {
		fd, err = beneath.Child(parent.FD, base, unix.O_PATH|unix.O_DIRECTORY)
	}
	if blocks(err) {
		err = ErrBlocked
	}
	if err == unix.ENOENT {
		err = ErrChanged
	}
	if err != nil {
		return entry.Local{}, err
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if err := beneath.Lstat(fd, "", &st); err != nil {
		return entry.Local{}, err
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 || !beneath.SameDevice(&st, &t.self) {
		return entry.Local{}, ErrBlocked
	}
	if err := t.dress(fd, &st, a); err != nil {
		return entry.Local{}, err
	}
	if err := setTimes(parent.FD, base, a.MTime); err != nil && err != unix.ENOENT {
		return entry.Local{}, err
	}
	if err := beneath.Lstat(fd, "", &st); err != nil {
		return entry.Local{}, err
	}
	return makeLocal(dirKey(path), &st), nil
}

// Symlink makes a symbolic link at path, with its parents. The target is
// stored as it is and never looked at. expect, the errors and the entry that
// is returned are those of [Temp.Commit], and placing is its Placing.
func (t *Tree) Symlink(target, path string, a entry.Attrs, expect *entry.Fingerprint, placing func(entry.Local)) (entry.Local, error) {
	if err := ValidKey(path); err != nil {
		return entry.Local{}, failed("make link", path, err)
	}
	l, err := t.symlink(target, path, a, expect, placing)
	return l, failed("make link", path, err)
}

func (t *Tree) symlink(target, path string, a entry.Attrs, expect *entry.Fingerprint, placing func(entry.Local)) (entry.Local, error) {
	name := t.tempName()
	if err := unix.Symlinkat(target, t.tmpFD(), name); err != nil {
		if target == "" {
			return entry.Local{}, unix.EINVAL // the kernel's ENOENT would mean the folder
		}
		return entry.Local{}, t.gone(err)
	}
	var before, after unix.Statx_t
	fd, err := beneath.Child(t.tmpFD(), name, unix.O_PATH)
	if err != nil {
		return entry.Local{}, t.gone(err)
	}
	defer unix.Close(fd)
	err = func() error {
		if err := beneath.Lstat(fd, "", &before); err != nil {
			return err
		}
		if before.Uid != a.UID || before.Gid != a.GID {
			if _, _, err := chown(t.tmpFD(), name, &before, a); err != nil {
				return err
			}
		}
		if err := setTimes(t.tmpFD(), name, a.MTime); err != nil {
			return err
		}
		if err := beneath.Lstat(fd, "", &before); err != nil {
			return err
		}
		if placing != nil {
			placing(makeLocal(path, &before))
		}
		return t.publish(name, &before, path, expect)
	}()
	if err != nil {
		_ = unix.Unlinkat(t.tmpFD(), name, 0)
		return entry.Local{}, err
	}
	if err := beneath.Lstat(fd, "", &after); err != nil {
		return entry.Local{}, err
	}
	l := settled(path, &before, &after)
	l.Target = target
	return l, nil
}
