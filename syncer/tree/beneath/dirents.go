package beneath

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Type is what a directory says of an entry without looking at the entry.
type Type uint8

// The types that callers tell apart; see getdents(2) for the others.
const (
	TypeUnknown = Type(unix.DT_UNKNOWN) // the file system does not say: look
	TypeDir     = Type(unix.DT_DIR)
)

// header is the size of struct linux_dirent64 before its name: inode and
// offset of 8 bytes each, record length of 2, type of 1.
const header = 19

// ReadDir calls fn for every entry of the open directory fd but "." and "..",
// in the directory's own order, until fn returns false. name is only valid
// during the call. buf is scratch space; 32 KiB or more keep it quick.
//
// os.File.ReadDir would do but for the entries whose type the file system
// does not tell: it looks those up by a path of its own making.
func ReadDir(fd int, buf []byte, fn func(name []byte, typ Type) bool) error {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return err
	}
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		for rest := buf[:n]; len(rest) >= header; {
			size := int(binary.NativeEndian.Uint16(rest[16:18]))
			if size < header || size > len(rest) {
				return unix.EIO // not what the kernel promises
			}
			rec := rest[:size]
			rest = rest[size:]
			name := rec[header:]
			if end := bytes.IndexByte(name, 0); end >= 0 {
				name = name[:end]
			}
			if string(name) == "." || string(name) == ".." {
				continue
			}
			if !fn(name, Type(rec[18])) {
				return nil
			}
		}
	}
}
