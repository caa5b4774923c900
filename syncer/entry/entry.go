// Package entry holds the values that the parts of the syncer exchange: what
// a path in the volume looks like, what the bucket says of it, and what both
// agreed on last. Nothing here does I/O.
package entry

import (
	"strings"
	"time"
)

// Kind is what a path is.
type Kind uint8

const (
	File Kind = iota + 1
	Dir
	Symlink
	// Special is a socket, FIFO or device. It cannot be an object; it is
	// reported and whatever the bucket holds at its path is left alone.
	Special
	// Opaque is a directory that could not be read. Nothing may be concluded
	// about any path below it, least of all that it was deleted.
	Opaque
)

func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Dir:
		return "directory"
	case Symlink:
		return "symbolic link"
	case Special:
		return "special file"
	case Opaque:
		return "unreadable directory"
	}
	return "unknown"
}

// Time is a file time to the nanosecond over the whole range that file
// systems know; time.Time.UnixNano is undefined past 2262.
type Time struct {
	Sec  int64
	Nsec int32 // 0 ≤ Nsec < 1e9, also before 1970
}

// TimeOf converts t.
func TimeOf(t time.Time) Time { return Time{Sec: t.Unix(), Nsec: int32(t.Nanosecond())} }

// Std is t as a time.Time in UTC.
func (t Time) Std() time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

// Before reports whether t is earlier than u.
func (t Time) Before(u Time) bool {
	return t.Sec < u.Sec || t.Sec == u.Sec && t.Nsec < u.Nsec
}

// Fingerprint changes whenever a path's content or attributes change: ctime
// cannot be set from user space.
type Fingerprint struct {
	Kind  Kind
	Size  int64
	MTime Time
	CTime Time
	Inode uint64
}

// Attrs are the attributes that travel with the content.
type Attrs struct {
	Perm  uint32 // permission bits with setuid, setgid and sticky: 07777
	UID   uint32
	GID   uint32
	MTime Time
}

// SameDir reports whether two directories have the same attributes of their
// own; a directory's mtime is its children's doing.
func (a Attrs) SameDir(b Attrs) bool {
	return a.Perm == b.Perm && a.UID == b.UID && a.GID == b.GID
}

// Local is one path as the volume has it.
//
// Key is the path relative to the volume's root, with '/' between segments
// and a '/' at the end of directories, so that byte order over keys is the
// order in which S3 lists them.
type Local struct {
	Key string
	Fingerprint
	Attrs Attrs
	Links uint64 // number of hard links
	// Target is a symbolic link's target.
	Target string
	// Reason says why a Special or Opaque entry cannot be synced.
	Reason string
}

// Remote is one object as the bucket has it.
type Remote struct {
	Key  string // relative to the prefix; ends in '/' for a directory
	Size int64
	ETag string // as the store gave it, without quotes
	// MTime is the mtime attribute, or the object's last modification where
	// it has none; only filled in where the source gave it.
	MTime Time
}

// Base is what volume and bucket agreed on last for a path.
type Base struct {
	Key   string
	Local Fingerprint
	Attrs Attrs
	ETag  string
}

// Removed reports whether the volume was made to lack the object, by restoring
// a state in which it did not exist: on its own account, no file was deleted.
func (b Base) Removed() bool { return b.Local == Fingerprint{} }

// Path is key without the '/' that marks a directory.
func Path(key string) string { return strings.TrimSuffix(key, "/") }

// IsDir reports whether key names a directory.
func IsDir(key string) bool { return strings.HasSuffix(key, "/") }
