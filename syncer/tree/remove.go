package tree

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// Remove removes what is at key if it is still what expect says (of a
// directory only that it is one); otherwise [ErrChanged]. What is gone already
// is no error. A directory must be empty: [ErrNotEmpty].
//
// Like [Tree.publish] it looks twice: the entry is renamed out of the tree, and
// if the app got at it in between it is put back.
func (t *Tree) Remove(key string, expect entry.Fingerprint) error {
	if err := ValidKey(key); err != nil {
		return failed("remove", key, err)
	}
	parent, base, err := t.root.Parent(entry.Path(key))
	switch err {
	case nil:
		defer parent.Close()
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
		return nil
	default:
		return failed("remove", key, err)
	}
	err = t.inside(parent.FD, func() error {
		if entry.IsDir(key) || expect.Kind == entry.Dir {
			return rmdir(parent.FD, base)
		}
		return t.remove(parent.FD, base, expect)
	})
	if err == unix.ENOENT {
		return nil
	}
	return failed("remove", key, err)
}

func rmdir(parent int, base string) error {
	switch err := unix.Unlinkat(parent, base, unix.AT_REMOVEDIR); err {
	case unix.ENOTEMPTY, unix.EEXIST:
		return ErrNotEmpty
	case unix.ENOTDIR:
		return ErrChanged
	case unix.EBUSY: // another file system is mounted there
		return ErrBlocked
	default:
		return err
	}
}

func (t *Tree) remove(parent int, base string, expect entry.Fingerprint) error {
	var was, out unix.Statx_t
	if err := beneath.Lstat(parent, base, &was); err != nil {
		return err
	}
	if makeLocal("", &was).Fingerprint != expect {
		return ErrChanged
	}
	name := t.tempName()
	if err := unix.Renameat(parent, base, t.tmpFD(), name); err != nil {
		var st unix.Statx_t
		if err == unix.ENOENT && beneath.Lstat(parent, base, &st) == nil {
			return t.gone(err) // it is the folder for temporary files that is gone
		}
		return err
	}
	if err := beneath.Lstat(t.tmpFD(), name, &out); err != nil {
		return err
	}
	if sameButCtime(&was, &out) {
		return unix.Unlinkat(t.tmpFD(), name, 0)
	}
	err := t.moveNew(t.tmpFD(), name, parent, base)
	if err == unix.EEXIST {
		// The app has made a new one meanwhile. Both are its own.
		err = t.moveNew(t.tmpFD(), name, parent, besides(base, t.id+"-"+name))
	}
	if err != nil {
		return errors.Join(ErrChanged, err)
	}
	return ErrChanged
}

// besides is a name next to base, not too long for a file system.
func besides(base, mark string) string {
	mark = ".kept-" + mark
	return base[:min(len(base), maxName-len(mark))] + mark
}

// PruneParents removes the directories above key that are empty, from the
// lowest upwards, until one that is not, the root, or one that keep, which is
// asked with the directory's key, says to keep.
func (t *Tree) PruneParents(key string, keep func(dirKey string) bool) error {
	if err := ValidKey(key); err != nil {
		return failed("remove the empty folders above", key, err)
	}
	path := entry.Path(key)
	for {
		cut := strings.LastIndexByte(path, '/')
		if cut < 0 {
			return nil
		}
		path = path[:cut]
		if keep(dirKey(path)) {
			return nil
		}
		parent, base, err := t.root.Parent(path)
		if err == unix.ENOENT {
			continue
		}
		if err == nil {
			err = t.inside(parent.FD, func() error { return rmdir(parent.FD, base) })
			parent.Close()
		}
		switch {
		case err == nil, err == unix.ENOENT:
		case err == ErrNotEmpty, err == ErrChanged, err == ErrBlocked, blocks(err):
			return nil
		default:
			return failed("remove empty folder", path, err)
		}
	}
}

// MoveAside renames path, a file, a link or a directory with all that is in
// it, to a path where nothing is. [ErrChanged]: something is at to, or nothing
// at path. Missing parents of to are made.
func (t *Tree) MoveAside(path, to string) (entry.Local, error) {
	path, to = entry.Path(path), entry.Path(to)
	if err := errors.Join(ValidKey(path), ValidKey(to)); err != nil {
		return entry.Local{}, failed("move aside", path, err)
	}
	if strings.HasPrefix(to, dirKey(path)) {
		return entry.Local{}, failed("move aside", path, unix.EINVAL) // into itself
	}
	if err := t.moveAside(path, to); err != nil {
		return entry.Local{}, failed("move aside", path, err)
	}
	l, _, err := t.lookup(to)
	return l, failed("look at", to, err)
}

func (t *Tree) moveAside(path, to string) error {
	from, name, err := t.root.Parent(path)
	if err == unix.ENOENT || blocks(err) {
		return ErrChanged
	}
	if err != nil {
		return err
	}
	defer from.Close()
	target, base, err := t.parentFor(to)
	if err != nil {
		return err
	}
	defer target.Close()
	move := func() error { return t.moveNew(from.FD, name, target.FD, base) }
	if err = move(); err == unix.EACCES {
		t.making.Lock()
		err = t.lend(from.FD, func() error { return t.lend(target.FD, move) })
		t.making.Unlock()
	}
	if err == unix.EEXIST || err == unix.ENOENT {
		return ErrChanged
	}
	return err
}
