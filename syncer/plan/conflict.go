package plan

import (
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// Side is the volume or the bucket.
type Side uint8

const (
	LocalSide Side = iota + 1
	RemoteSide
)

func (s Side) String() string {
	if s == LocalSide {
		return "local"
	}
	return "remote"
}

// Winner is the side that keeps the path when both changed and differ: the
// newer mtime, and the bucket on a tie. The loser is kept beside it under
// [ConflictPath]. This is the only decision that clocks have a part in.
func Winner(local, remote entry.Time) Side {
	if remote.Before(local) {
		return LocalSide
	}
	return RemoteSide
}

// maxName is the longest file name that Linux file systems take, in bytes.
const maxName = 255

// ConflictPath is where the losing state of p is kept:
// "dir/name.conflict-<writer>-<UTC time>.ext". The stem is shortened where the
// name would not fit a file system.
func ConflictPath(p, writer string, at time.Time) string {
	dir, name := path.Split(p)
	ext := path.Ext(name)
	if ext == name || len(ext) > 32 { // a dot file, or no extension worth the name
		ext = ""
	}
	stem := strings.TrimSuffix(name, ext)
	tag := ".conflict-" + writer + "-" + at.UTC().Format("20060102T150405.000Z")
	if room := maxName - len(tag) - len(ext); len(stem) > room {
		stem = cut(stem, max(room, 1))
	}
	return dir + stem + tag + ext
}

// cut shortens s to at most n bytes without splitting a rune.
func cut(s string, n int) string {
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
