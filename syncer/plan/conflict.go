package plan

import (
	"path"
	"regexp"
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

// Sizes in bytes.
const (
	maxName   = 255 // the longest file name that Linux file systems take
	maxWriter = 80  // a host name, which is 64 at the most, and what makes it unique
	maxExt    = 32  // what is longer is no extension worth keeping
	minStem   = 16  // what must be left of a name to know it by
)

// ConflictPath is where the losing state of p is kept:
// "dir/name.conflict-<writer>-<UTC time>.ext". The stem is shortened where the
// name would not fit a file system, or the path would have more than room
// bytes, which is what the store takes below the prefix. A folder that leaves
// no room for a stem gives way to the one above it: a copy in the wrong place
// is found, one that cannot be stored is lost with the node.
func ConflictPath(p, writer string, at time.Time, room int) string {
	dir, name := path.Split(p)
	ext := path.Ext(name)
	if ext == name || len(ext) > maxExt { // a dot file, or too long
		ext = ""
	}
	stem := strings.TrimSuffix(name, ext)
	writer = cut(strings.ReplaceAll(writer, "/", "-"), maxWriter)
	tag := conflictMark + writer + "-" + at.UTC().Format("20060102T150405.000Z")
	for dir != "" && len(dir)+min(len(stem), minStem)+len(tag)+len(ext) > room {
		dir, _ = path.Split(strings.TrimSuffix(dir, "/"))
	}
	longest := min(maxName, room-len(dir)) - len(tag) - len(ext)
	return dir + cut(stem, max(longest, 0)) + tag + ext
}

// What ConflictPath puts into a name begins with conflictMark and is a conflictTag.
const conflictMark = ".conflict-"

var conflictTag = regexp.MustCompile(regexp.QuoteMeta(conflictMark) + `.*-\d{8}T\d{6}\.\d{3}Z`)

// ConflictOf is the path of which p is a conflict copy, as far as its name
// still tells; p itself if it is none.
func ConflictOf(p string) string {
	if !strings.Contains(p, conflictMark) { // as is true of nearly all, of which there may be millions
		return p
	}
	dir, name := path.Split(p)
	return dir + conflictTag.ReplaceAllString(name, "")
}

// cut shortens s to at most n bytes, and does not split a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	for i := n; i > 0 && i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n] // not UTF-8
}
