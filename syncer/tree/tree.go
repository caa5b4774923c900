// Package tree is a volume as the syncer sees it: scanned, looked up, read,
// and written so that nothing is ever half-written under a final name.
//
// # Staying inside
//
// The app owns the volume and may put a symbolic link, a FIFO or a directory
// anywhere at any moment. Every path is therefore resolved by the kernel in
// one step that follows no link and does not leave the file system (see
// [github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath]), and every
// operation is made relative to the descriptor that this gave.
//
// # No fsync
//
// Nothing here is fsynced. What is written came from the bucket and can be
// fetched again, and ten thousand fsyncs cost seconds. What a kill of the
// process cannot lose, a power cut can: a file that the base calls synced may
// come back torn, empty or not at all, which the planner would take for the
// app's doing, and upload or delete. So the volume gets a new identity (see
// [Tree.VolumeID]) when it is opened under another boot of the kernel than the
// one that wrote its identity down. A base belongs to one identity; without a
// base, what differs is compared by content and nothing is deleted, and a torn
// file with a restored file's mtime loses against the object.
//
// # Errors
//
// Errors name the action and the path and wrap what the kernel said, so that
// errors.Is finds fs.ErrPermission and the like as well as the values below.
package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

var (
	// ErrFull: no room (or no inode, or no quota) in the volume.
	ErrFull = errors.New("volume full")
	// ErrChanged: the path is not what the caller thought. Look again.
	ErrChanged = errors.New("path has changed meanwhile")
	// ErrBlocked: the path cannot be made because something is in the way: a
	// directory at the path, or a file, a symbolic link or another file
	// system where a parent directory is needed.
	ErrBlocked = errors.New("something else is in the way")
	// ErrNotEmpty: the directory to be removed has entries.
	ErrNotEmpty = errors.New("directory is not empty")
	// ErrNotRegular: the path to be opened is not a regular file.
	ErrNotRegular = errors.New("not a regular file")
	// ErrReplaced: the path of the volume does not lead to the volume that was
	// opened: it was unmounted, renamed or replaced.
	ErrReplaced = errors.New("volume was unmounted or replaced")
	// ErrInvalidKey: the key is no path in a volume; see [ValidKey].
	ErrInvalidKey = errors.New("not a usable path")
)

// DefaultDirPerm is the permission of directories that are made because a
// file needs them. A directory that looks like that needs no object.
const DefaultDirPerm = 0o755

// Tree is one open volume. Its methods are safe for concurrent use. Close it
// after the last use of anything that came from it.
type Tree struct {
	path  string
	dir   *os.File // the root; keeps root's descriptor open
	root  *beneath.Root
	self  unix.Statx_t // the root directory as it was at Open
	id    string
	plain entry.Attrs // what directories look like that are made on the way
	// making is held from making a directory to giving it its attributes: of
	// one directory made on the way and made for itself at the same time, the
	// attributes of its own must come last.
	making   sync.Mutex
	passages passages

	mending sync.Mutex    // held from finding the reserved folder missing to putting it back
	mended  atomic.Uint64 // see Mended

	tmp     *os.File // this process's own folder for temporary files
	tmpName string   // its name in the reserved folder's tmp/
	serial  atomic.Uint64
	// unstamped: see Unstamped.
	unstamped bool
	// noExchange is set once the file system turned out not to know
	// RENAME_EXCHANGE, noReplace the same for RENAME_NOREPLACE.
	noExchange, noReplace atomic.Bool
}

// Open opens the volume at path, an existing directory. It makes the reserved
// folder and the volume's identity where they are missing, and removes the
// temporary files of processes that are gone.
func Open(path string) (*Tree, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open volume %s: %w", path, err)
	}
	fd, err := unix.Open(abs, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open volume %s: %w", path, wrap(err))
	}
	t := &Tree{path: abs, dir: os.NewFile(uintptr(fd), abs), root: beneath.New(fd)}
	if err := t.prepare(); err != nil {
		t.Close()
		return nil, fmt.Errorf("open volume %s: %w", path, wrap(err))
	}
	return t, nil
}

func (t *Tree) prepare() error {
	if err := beneath.Lstat(t.root.FD(), "", &t.self); err != nil {
		return err
	}
	t.plain = plainDir(&t.self)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(t.root.FD(), &fs); err != nil {
		return err
	}
	t.unstamped = int64(fs.Type) == unix.TMPFS_MAGIC
	reserved, err := t.openReserved()
	if err != nil {
		return err
	}
	defer unix.Close(reserved)
	if t.id, err = identify(reserved); err != nil {
		return err
	}
	fd, err := t.openTmp(reserved)
	if err == nil {
		t.tmp = os.NewFile(uintptr(fd), t.tmpName)
	}
	return err
}

// Close removes this process's temporary files and lets the volume go.
func (t *Tree) Close() error {
	t.closeTmp()
	return t.dir.Close()
}

// Path is the volume's path as given to [Open], made absolute.
func (t *Tree) Path() string { return t.path }

// Root is the root directory as it is now. Its Key is empty.
func (t *Tree) Root() (entry.Local, error) {
	var st unix.Statx_t
	if err := beneath.Lstat(t.root.FD(), "", &st); err != nil {
		return entry.Local{}, failed("look at", t.path, err)
	}
	return makeLocal("", &st), nil
}

// Defaults are the attributes of the directories that are made on the way to
// a file: [DefaultDirPerm] (and setgid where the root has it, which Linux
// hands down), owned like the root. Objects that say nothing of their owner
// get the same owner. A process that may not give files away makes them its
// own, so then that is the default.
func (t *Tree) Defaults() entry.Attrs { return t.plain }

// Unstamped reports whether stores through a mapping may leave a file's times
// as they are, whatever [File.Settle] does, so that a file that is the same by
// its fingerprint need not be the same. So it is on tmpfs, an emptyDir in memory.
func (t *Tree) Unstamped() bool { return t.unstamped }

// failed names the action and the path of an error from the kernel.
func failed(action, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", action, path, wrap(err))
}

// wrap adds the package's own word for an error of the kernel's.
func wrap(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%w: %w", ErrBlocked, err)
	}
	return err
}

// blocks reports whether err, from opening a parent directory, means that
// something other than a directory stands there.
func blocks(err error) bool {
	return err == unix.ENOTDIR || err == unix.ELOOP || err == unix.EXDEV
}
