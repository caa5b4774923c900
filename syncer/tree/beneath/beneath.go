// Package beneath opens what lies below a directory, and only that: no
// symbolic link is ever followed, no "..", and no step leaves the file system.
//
// os.Root promises less than a volume shared with an untrusted app needs. It
// keeps a path inside, but walks through symbolic links that stay inside, so
// that "a/x" could be read, or written, as "b/x" by way of a link a → b. It
// also resolves each path one component at a time, where Linux can do a whole
// path in one system call that makes these promises itself: openat2(2).
package beneath

import (
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path handed to the kernel at once, a little under
// PATH_MAX. Longer ones are walked in pieces, so that no depth is too deep.
const maxPath = 4000

const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV

// Root is a directory below which things are opened. It is safe for
// concurrent use; the descriptor must stay open for as long as it is used.
type Root struct {
	fd int
	// stepwise is set when openat2 turned out to be missing: kernels before
	// 5.6 and the seccomp profiles of their time.
	stepwise atomic.Bool
}

// New makes the open directory fd a Root. The descriptor remains the caller's.
func New(fd int) *Root { return &Root{fd: fd} }

// FD is the descriptor given to [New].
func (r *Root) FD() int { return r.fd }

// Open opens path, relative to the root and with '/' between its segments; ""
// is the root itself. O_NOFOLLOW and O_CLOEXEC are always set.
//
// The error is a bare [unix.Errno]: ENOENT where there is nothing; ENOTDIR or
// ELOOP where a segment on the way is a file or a symbolic link (or the last
// one, if flags ask for a directory); EXDEV where the path climbs or where
// another file system is mounted on the way.
func (r *Root) Open(path string, flags int) (int, error) {
	at, own := r.fd, false
	for len(path) > maxPath {
		cut := strings.LastIndexByte(path[:maxPath], '/')
		if cut <= 0 {
			break // one segment this long: the kernel says ENAMETOOLONG
		}
		next, err := r.OpenAt(at, path[:cut], unix.O_PATH|unix.O_DIRECTORY)
		if own {
			unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at, own, path = next, true, path[cut+1:]
	}
	fd, err := r.OpenAt(at, path, flags)
	if own {
		unix.Close(at)
	}
	return fd, err
}

// OpenAt is Open relative to another directory of the root's file system, for
// paths that the kernel takes as a whole.
func (r *Root) OpenAt(at int, path string, flags int) (int, error) {
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC
	if path == "" {
		return openat(at, ".", flags)
	}
	if r.stepwise.Load() {
		return steps(at, path, flags)
	}
	how := unix.OpenHow{Flags: uint64(flags), Resolve: resolve}
	// The kernel answers EAGAIN when a rename elsewhere made it unsure that the
	// walk stayed beneath: worth a few tries, then the slow walk settles it.
	for range 16 {
		fd, err := unix.Openat2(at, path, &how)
		switch err {
		case unix.EAGAIN, unix.EINTR:
			continue
		case unix.ENOSYS:
			r.stepwise.Store(true)
			return steps(at, path, flags)
		case unix.EPERM:
			// Old seccomp profiles answer EPERM to system calls they do not
			// know; but it may also be the file's own answer (O_NOATIME on
			// somebody else's file). The slow walk tells which.
			return steps(at, path, flags)
		}
		return fd, err
	}
	return steps(at, path, flags)
}

// steps opens path one segment at a time. Each segment is opened relative to
// the descriptor of the one before and never through a link, so nothing that
// happens meanwhile can lead outside. It notices a mount only at the end of
// the path, which the callers look at again themselves.
func steps(at int, path string, flags int) (int, error) {
	var root unix.Statx_t
	if err := Lstat(at, "", &root); err != nil {
		return -1, err
	}
	dir, own := at, false
	for {
		name, rest, more := strings.Cut(path, "/")
		if name == "" || name == "." || name == ".." {
			if own {
				unix.Close(dir)
			}
			return -1, unix.EXDEV
		}
		f := flags
		if more {
			f = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		next, err := openat(dir, name, f)
		if own {
			unix.Close(dir)
		}
		if err != nil {
			return -1, err
		}
		if !more {
			return next, nil
		}
		var st unix.Statx_t
		if err := Lstat(next, "", &st); err == nil && !SameDevice(&st, &root) {
			unix.Close(next)
			return -1, unix.EXDEV
		}
		dir, own, path = next, true, rest
	}
}

// Dir is an open directory that may be the root's own descriptor.
type Dir struct {
	FD  int
	own bool
}

// Close closes the descriptor unless it is the root's.
func (d Dir) Close() {
	if d.own {
		unix.Close(d.FD)
	}
}

// Parent opens the directory that holds path and returns it with path's last
// segment. The descriptor is good for *at system calls, not for reading.
func (r *Root) Parent(path string) (Dir, string, error) {
	cut := strings.LastIndexByte(path, '/')
	if cut < 0 {
		return Dir{FD: r.fd}, path, nil
	}
	fd, err := r.Open(path[:cut], unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return Dir{}, "", err
	}
	return Dir{FD: fd, own: true}, path[cut+1:], nil
}

// Child opens one directory entry, never through a link.
func Child(dirfd int, name string, flags int) (int, error) {
	return openat(dirfd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC)
}

func openat(dirfd int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// Lstat fills st from the entry name of the directory dirfd, or from dirfd
// itself if name is empty. statx is used because its times have 64 bits on
// every architecture; those of fstatat end in 2038 on 32-bit ARM.
func Lstat(dirfd int, name string, st *unix.Statx_t) error {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	for {
		if err := unix.Statx(dirfd, name, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME, st); err != unix.EINTR {
			return err
		}
	}
}

// SameDevice reports whether a and b are on one file system.
func SameDevice(a, b *unix.Statx_t) bool {
	return a.Dev_major == b.Dev_major && a.Dev_minor == b.Dev_minor
}

// Stepwise makes r resolve paths one segment at a time, as it does where the
// kernel has no openat2.
func (r *Root) Stepwise(on bool) { r.stepwise.Store(on) }
