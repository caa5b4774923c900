// Package attrs puts a file's attributes into the metadata of its object, and
// reads them back, also those that other tools wrote.
//
// # What is written
//
//	mode   0100644               octal, with the type bits of stat(2)
//	uid    1000                  decimal
//	gid    1000                  decimal
//	mtime  1700000000.123456789  decimal Unix seconds, 9 decimals or none
//
// This is what rclone writes with --metadata (its local backend's "mode",
// "uid" and "gid" as they are, octal for the mode; its S3 backend's own
// "mtime" as a float), in the spelling that s3fs reads the same way. s3fs
// reads a mode as C does, so only the 0 in front makes it octal; rclone's
// octal parser does not mind it. s3fs reads the digits behind the point as a
// number of nanoseconds, so all nine are needed; rclone drops the zeroes at
// the end when writing but not when reading. A time before 1970 is the
// negative number that it is: half a second before is -0.5, as rclone has it.
//
// # What is read
//
// The same with or without the 0 in front, a mode in decimal (s3fs, which
// writes no other), times with any number of decimals or in RFC 3339; and
// where there is none of it, mc-attrs (mc mirror -a) and s3cmd-attrs (s3cmd
// --preserve): "atime:1700000000#5/gid:0/gname:root/mode:33188/…", with the
// mode in decimal and the time in seconds, by mc with "#" and nanoseconds.
//
// Values that make no sense are as good as none.
package attrs

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// The keys of the metadata, as they follow x-amz-meta-.
const (
	keyMode  = "mode"
	keyUID   = "uid"
	keyGID   = "gid"
	keyMTime = "mtime"

	keyMC    = "mc-attrs"
	keyS3cmd = "s3cmd-attrs"
)

// The type bits of a mode, see inode(7).
const (
	typeMask    = 0o170000
	typeSymlink = 0o120000
	typeFile    = 0o100000
	typeDir     = 0o040000
)

// Permission bits of objects that do not tell theirs.
const (
	FilePerm = 0o644
	DirPerm  = 0o755
	linkPerm = 0o777 // of every symbolic link on Linux
)

// Defaults stand in for what the metadata does not tell.
type Defaults struct {
	UID, GID uint32
	MTime    entry.Time // of the object's last modification, say
	Dir      bool       // the key ends in '/': a directory, whatever the mode says
}

// Encode is the metadata for an object made of a file, link or directory.
func Encode(kind entry.Kind, a entry.Attrs) map[string]string {
	return map[string]string{
		keyMode:  "0" + strconv.FormatUint(uint64(typeBits(kind)|a.Perm&0o7777), 8),
		keyUID:   strconv.FormatUint(uint64(a.UID), 10),
		keyGID:   strconv.FormatUint(uint64(a.GID), 10),
		keyMTime: formatTime(a.MTime),
	}
}

// Decode reads the metadata of an object, keys in lower case and without
// x-amz-meta-. kind is File, Dir or Symlink. It never fails: see [Defaults].
func Decode(meta map[string]string, fallback Defaults) (entry.Kind, entry.Attrs) {
	a := entry.Attrs{UID: fallback.UID, GID: fallback.GID, MTime: fallback.MTime}
	kind := entry.File
	perm, known := uint32(0), false

	// From the least to the most trusted; each overrides what came before.
	for _, key := range []string{keyS3cmd, keyMC} {
		other := parseList(meta[key])
		if k, p, ok := decimalMode(other["mode"]); ok {
			kind, perm, known = k, p, true
		}
		setID(&a.UID, other["uid"])
		setID(&a.GID, other["gid"])
		if t, ok := parseMCTime(other["mtime"]); ok {
			a.MTime = t
		}
	}
	if k, p, ok := parseMode(meta[keyMode]); ok {
		kind, perm, known = k, p, true
	}
	setID(&a.UID, meta[keyUID])
	setID(&a.GID, meta[keyGID])
	if t, ok := parseTime(meta[keyMTime]); ok {
		a.MTime = t
	}

	if fallback.Dir != (kind == entry.Dir) {
		// The key decides what is a directory; the bits were of something else.
		kind, known = entry.File, false
		if fallback.Dir {
			kind = entry.Dir
		}
	}
	switch {
	case kind == entry.Symlink:
		a.Perm = linkPerm
	case known:
		a.Perm = perm
	case kind == entry.Dir:
		a.Perm = DirPerm
	default:
		a.Perm = FilePerm
	}
	return kind, a
}

func typeBits(kind entry.Kind) uint32 {
	switch kind {
	case entry.Dir:
		return typeDir
	case entry.Symlink:
		return typeSymlink
	}
	return typeFile
}

// setID sets id if s is one. The largest number is none: chown(2) takes it
// for "leave as it is".
func setID(id *uint32, s string) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil && n != math.MaxUint32 {
		*id = uint32(n)
	}
}

// parseMode reads a mode that may be octal (rclone, and us) or decimal (s3fs).
// They cannot be taken for one another: the decimal modes of files begin with
// 3 and those of directories with 16 to 20, which as octal have the type bits
// of nothing, a FIFO or a device.
//
// Links are the exception: their decimal modes begin with 4, like octal modes
// of directories. But every link on Linux has the permissions 0777, and so
// exactly the mode 41471, while nobody gives a directory the octal mode 1471.
func parseMode(s string) (entry.Kind, uint32, bool) {
	if s == "41471" {
		return decimalMode(s)
	}
	if n, err := strconv.ParseUint(s, 8, 32); err == nil {
		if kind, perm, ok := splitMode(n); ok {
			return kind, perm, true
		}
	}
	return decimalMode(s)
}

func decimalMode(s string) (entry.Kind, uint32, bool) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil && n >= typeDir {
		return splitMode(n)
	}
	return 0, 0, false
}

// splitMode parts a mode. One without type bits is a file's.
func splitMode(mode uint64) (entry.Kind, uint32, bool) {
	perm := uint32(mode & 0o7777)
	switch mode &^ 0o7777 {
	case typeFile, 0:
		return entry.File, perm, true
	case typeDir:
		return entry.Dir, perm, true
	case typeSymlink:
		return entry.Symlink, perm, true
	}
	return 0, 0, false
}

func formatTime(t entry.Time) string {
	sec, nsec := t.Sec, t.Nsec
	sign := ""
	if sec < 0 && nsec > 0 {
		sec, nsec = sec+1, 1e9-nsec // towards zero
		if sec == 0 {
			sign = "-"
		}
	}
	s := sign + strconv.FormatInt(sec, 10)
	if nsec != 0 {
		frac := strconv.FormatInt(int64(nsec), 10)
		s += "." + strings.Repeat("0", 9-len(frac)) + frac
	}
	return s
}

func parseTime(s string) (entry.Time, bool) {
	whole, frac, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err == nil {
		nsec, ok := parseFraction(frac)
		return join(sec, nsec, strings.HasPrefix(whole, "-")), ok
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return entry.TimeOf(t), true
	}
	return entry.Time{}, false
}

// parseFraction is the nanoseconds of the digits behind a decimal point; those
// behind the ninth do not count.
func parseFraction(digits string) (int32, bool) {
	nsec, unit := int32(0), int32(1e8)
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
		nsec += int32(c-'0') * unit
		unit /= 10
	}
	return nsec, true
}

// join adds nanoseconds to seconds, away from zero if negative.
func join(sec int64, nsec int32, negative bool) entry.Time {
	if negative && nsec > 0 && sec > math.MinInt64 {
		return entry.Time{Sec: sec - 1, Nsec: 1e9 - nsec}
	}
	return entry.Time{Sec: sec, Nsec: nsec}
}

// parseList reads "key:value/key:value".
func parseList(s string) map[string]string {
	if s == "" {
		return nil
	}
	list := map[string]string{}
	for field := range strings.SplitSeq(s, "/") {
		if key, value, ok := strings.Cut(strings.TrimSpace(field), ":"); ok {
			list[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return list
}

// parseMCTime reads "seconds" or "seconds#nanoseconds", which count forward
// from the second also before 1970.
func parseMCTime(s string) (entry.Time, bool) {
	whole, frac, both := strings.Cut(s, "#")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return entry.Time{}, false
	}
	if !both {
		return entry.Time{Sec: sec}, true
	}
	nsec, err := strconv.ParseUint(frac, 10, 32)
	if err != nil || nsec >= 1e9 {
		return entry.Time{}, false
	}
	return entry.Time{Sec: sec, Nsec: int32(nsec)}, true
}
