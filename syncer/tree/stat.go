package tree

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// tick is more than the coarsest step of the clock that stamps files: before
// Linux 6.13 mtime and ctime advance with the timer interrupt, every 1 to 10 ms.
const tick = 20 * time.Millisecond

// Racy reports whether a change made at now could leave f as it is, because it
// would get the time stamps that f already has. A fingerprint taken of a racy
// state proves nothing: wait, and take it again. Directories are never racy.
func Racy(f entry.Fingerprint, now time.Time) bool {
	if f.Kind == entry.Dir || f.Kind == entry.Opaque {
		return false
	}
	return now.Sub(f.CTime.Std()).Abs() < tick
}

// fileKind tells what a mode is of.
func fileKind(mode uint16) entry.Kind {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return entry.File
	case unix.S_IFDIR:
		return entry.Dir
	case unix.S_IFLNK:
		return entry.Symlink
	}
	return entry.Special
}

// makeLocal turns what the kernel said of key into an entry.
//
// A directory has no content of its own, and its size and times change with
// its children. Its fingerprint is its kind alone; see [entry.Attrs.SameDir]
// for what changes in it.
func makeLocal(key string, st *unix.Statx_t) entry.Local {
	l := entry.Local{
		Key:   key,
		Links: uint64(st.Nlink),
		Attrs: attrsOf(st),
	}
	l.Kind = fileKind(st.Mode)
	if l.Kind == entry.Dir {
		return l
	}
	l.Size = int64(st.Size)
	l.MTime = l.Attrs.MTime
	l.CTime = entry.Time{Sec: st.Ctime.Sec, Nsec: int32(st.Ctime.Nsec)}
	l.Inode = st.Ino
	if l.Kind == entry.Special {
		l.Reason = specialReason(st.Mode)
	}
	return l
}

func attrsOf(st *unix.Statx_t) entry.Attrs {
	return entry.Attrs{
		Perm:  uint32(st.Mode) & 0o7777,
		UID:   st.Uid,
		GID:   st.Gid,
		MTime: entry.Time{Sec: st.Mtime.Sec, Nsec: int32(st.Mtime.Nsec)},
	}
}

func specialReason(mode uint16) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return "a socket cannot be stored as an object"
	case unix.S_IFIFO:
		return "a named pipe cannot be stored as an object"
	}
	return "a device cannot be stored as an object"
}

// opaque is the directory key (with its '/') that nothing is known of.
func opaque(key string, st *unix.Statx_t, reason string) entry.Local {
	l := entry.Local{Key: key, Reason: reason}
	if st != nil {
		l.Attrs, l.Links = attrsOf(st), uint64(st.Nlink)
	}
	l.Kind = entry.Opaque
	return l
}

// ReasonMount is that of a directory which is not the volume's own.
const ReasonMount = "another file system is mounted here"

// plainDir is what a directory looks like that this process makes below root
// without being told how.
func plainDir(root *unix.Statx_t) entry.Attrs {
	a := entry.Attrs{Perm: DefaultDirPerm, UID: root.Uid, GID: root.Gid}
	if euid := unix.Geteuid(); euid != 0 {
		a.UID, a.GID = uint32(euid), uint32(unix.Getegid())
	}
	if root.Mode&unix.S_ISGID != 0 {
		a.Perm |= unix.S_ISGID
		a.GID = root.Gid
	}
	return a
}

// dirKey is path with the '/' of a directory; "" stays the root.
func dirKey(path string) string {
	if path == "" || strings.HasSuffix(path, "/") {
		return path
	}
	return path + "/"
}
