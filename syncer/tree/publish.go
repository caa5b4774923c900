package tree

import (
	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// publish renames the temporary entry name, which looks like mine, to path.
//
// With expect nil it is certain that nothing is overwritten: the kernel does
// the look and the rename as one (RENAME_NOREPLACE; where the file system has
// no such thing, link and unlink, which are as good).
//
// With an expectation Linux has no such call. So: look; exchange the two
// (RENAME_EXCHANGE, at no moment is there nothing at the path); look at what
// came out. If the app changed, replaced or removed it in between, the two are
// exchanged back, and the tree is as the app left it. An exchange alters the
// ctime of what it moves, so this second look goes by kind, inode, size,
// mtime, mode and owner: in the microseconds between the looks a change would
// have to leave all of those as they were to be overlooked. What no system
// call can prevent is an app that still has the old file open and writes to it
// after it was replaced; the same holds for rename(2) by anybody.
//
// Where the file system cannot exchange, the rename follows the first look at
// once, and a change within those microseconds is overwritten.
func (t *Tree) publish(name string, mine *unix.Statx_t, path string, expect *entry.Fingerprint) error {
	for range attempts {
		parent, base, err := t.parentFor(path)
		if err != nil {
			return err
		}
		err = t.inside(parent.FD, func() error {
			if expect == nil {
				return t.placeNew(name, parent.FD, base)
			}
			return t.replace(name, mine, parent.FD, base, expect)
		})
		parent.Close()
		if err != unix.ENOENT {
			return err
		}
		// The parent was removed meanwhile, or what is to be published was.
		var st unix.Statx_t
		if err := beneath.Lstat(t.tmpFD(), name, &st); err != nil {
			return t.gone(err)
		}
	}
	return ErrChanged
}

// attempts is how often a parent that keeps vanishing is made again.
const attempts = 16

func (t *Tree) tmpFD() int { return int(t.tmp.Fd()) }

// placeNew moves the temporary entry name to where nothing is.
func (t *Tree) placeNew(name string, parent int, base string) error {
	err := t.moveNew(t.tmpFD(), name, parent, base)
	if err == unix.EEXIST {
		return occupied(parent, base)
	}
	return err
}

// occupied says which error it is that something is at base.
func occupied(parent int, base string) error {
	var st unix.Statx_t
	if beneath.Lstat(parent, base, &st) == nil && fileKind(st.Mode) == entry.Dir {
		return ErrBlocked
	}
	return ErrChanged
}

// moveNew renames, and fails with EEXIST if the new name is taken.
func (t *Tree) moveNew(from int, name string, to int, base string) error {
	if !t.noReplace.Load() {
		err := unix.Renameat2(from, name, to, base, unix.RENAME_NOREPLACE)
		if !unsupported(err) {
			return err
		}
		t.noReplace.Store(true)
	}
	err := unix.Linkat(from, name, to, base, 0)
	if err == nil {
		return unix.Unlinkat(from, name, 0)
	}
	if err != unix.EPERM && !unsupported(err) {
		return err
	}
	// A directory, or a file system without hard links: look, then rename.
	var st unix.Statx_t
	if err := beneath.Lstat(to, base, &st); err != unix.ENOENT {
		if err == nil {
			err = unix.EEXIST
		}
		return err
	}
	return unix.Renameat(from, name, to, base)
}

// unsupported reports whether the file system or the kernel lacks a call.
func unsupported(err error) bool {
	return err == unix.EINVAL || err == unix.ENOSYS || err == unix.EOPNOTSUPP
}

// replace moves the temporary entry name to where expect is.
func (t *Tree) replace(name string, mine *unix.Statx_t, parent int, base string, expect *entry.Fingerprint) error {
	var was, out unix.Statx_t
	if err := beneath.Lstat(parent, base, &was); err != nil {
		if err == unix.ENOENT {
			return ErrChanged
		}
		return err
	}
	if fileKind(was.Mode) == entry.Dir {
		return ErrBlocked
	}
	if makeLocal("", &was).Fingerprint != *expect {
		return ErrChanged
	}
	swapped, err := t.exchange(name, parent, base)
	if err == unix.ENOENT {
		return ErrChanged
	}
	if err != nil || !swapped {
		return err
	}
	if err := beneath.Lstat(t.tmpFD(), name, &out); err != nil {
		return err
	}
	if sameButCtime(&was, &out) {
		return unix.Unlinkat(t.tmpFD(), name, 0)
	}
	t.putBack(name, mine, &out, parent, base)
	return ErrChanged
}

// exchange swaps the temporary entry with the one at base. Where that cannot
// be done it renames, and swapped is false.
func (t *Tree) exchange(name string, parent int, base string) (swapped bool, err error) {
	if !t.noExchange.Load() {
		err := unix.Renameat2(t.tmpFD(), name, parent, base, unix.RENAME_EXCHANGE)
		if !unsupported(err) {
			return err == nil, err
		}
		t.noExchange.Store(true)
	}
	return false, unix.Renameat(t.tmpFD(), name, parent, base)
}

// putBack undoes an exchange that brought out something unexpected. Whatever
// the app does meanwhile, its latest version is what ends up at the path: if
// what comes out is not what was put there before, the app has just put it
// there, and it goes back in. What is left under the temporary name is ours,
// or what the app itself has replaced.
func (t *Tree) putBack(name string, mine, out *unix.Statx_t, parent int, base string) {
	there, here := mine.Ino, out.Ino
	for range attempts {
		if swapped, err := t.exchange(name, parent, base); err != nil || !swapped {
			return // nothing there: the app has removed the path
		}
		var st unix.Statx_t
		if beneath.Lstat(t.tmpFD(), name, &st) != nil || st.Ino == there {
			return
		}
		there, here = here, st.Ino
	}
}

// sameButCtime compares all that a rename leaves alone.
func sameButCtime(a, b *unix.Statx_t) bool {
	return a.Ino == b.Ino && a.Mode == b.Mode && a.Size == b.Size &&
		a.Mtime.Sec == b.Mtime.Sec && a.Mtime.Nsec == b.Mtime.Nsec && a.Uid == b.Uid && a.Gid == b.Gid
}
