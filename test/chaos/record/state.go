// Package record is what the chaos checker knows: for each path the states
// that it really had, in order, and up to which moment the syncer has said
// that everything is in the bucket. From these follows what a bucket and a
// restored volume may hold. It does no I/O and knows nothing of the syncer's
// code.
package record

import (
	"fmt"
	"time"
)

// Kind is what a path is. The zero value is Absent.
type Kind uint8

const (
	Absent Kind = iota
	File
	Dir
	Link
)

func (k Kind) String() string { return [...]string{"absent", "file", "folder", "link"}[k] }

// PlainDir is the mode of a folder of which nothing is said in the bucket.
const PlainDir = 0o755

// State is what a path was at a moment. The zero value is absence. States are
// equal if == says so.
type State struct {
	Kind  Kind
	Perm  uint32 // permission bits of a file or folder
	MTime int64  // of a file or link: nanoseconds since 1970
	Size  int64  // of a file's content or a link's target, in bytes
	Sum   Sum    // likewise
}

func (s State) String() string {
	switch s.Kind {
	case File:
		return fmt.Sprintf("file %04o, %d bytes %08x, mtime %s", s.Perm, s.Size, uint32(s.Sum.A), mtime(s.MTime))
	case Link:
		return fmt.Sprintf("link, target of %d bytes %08x, mtime %s", s.Size, uint32(s.Sum.A), mtime(s.MTime))
	case Dir:
		return fmt.Sprintf("folder %04o", s.Perm)
	}
	return s.Kind.String()
}

func mtime(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000") }
