package base

import (
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// residentRecords is how many records are read or written before the pages of
// the file that this has mapped are let go.
const residentRecords = 1 << 15

// letGo takes the file's pages out of the process's memory; they stay in the
// kernel's cache, from where they come back when they are next looked at. The
// base of a million files has a hundred megabytes. Each scan looks at all of
// them, and they would then count as memory that this process needs, for hours
// in which it does nothing. No content changes hands: the mapping is shared and
// read-only, and writes go to the file. bbolt keeps the mapping where it is for
// as long as a transaction is open.
func (d *DB) letGo() {
	_ = d.db.View(func(tx *bolt.Tx) error {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, d.db.Info().Data, uintptr(tx.Size()), unix.MADV_DONTNEED)
		return nil
	})
}
