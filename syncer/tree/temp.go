package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

const (
	// block is the unit in which zeroes become holes: the block size of
	// practically every file system.
	block = 4 << 10
	// granule is the least unit in which a Temp remembers where data was
	// written, maxGranules how many there are at most. A size is what a listing
	// claims: it costs nothing to claim one, and must cost nothing to hear it.
	granule     = 1 << 20
	maxGranules = 1 << 20
)

var zeroes [block]byte

// Temp is a file that is not in the tree yet. WriteAt and ReadAt may be called
// concurrently, for parts that do not overlap.
//
// It is not preallocated. Preallocated blocks are what a hole is not, so files
// that were sparse would come back fat; and there is nothing to win: ext4, XFS
// and Btrfs choose the blocks when dirty pages are written out, so even
// a file written in parallel parts ends up in few extents, and they reserve the
// room when a page is dirtied, so that a full volume shows in WriteAt and not
// after Commit.
type Temp struct {
	// Placing, where set, is told what the entry will be, but for its ctime, right
	// before it gets its path.
	Placing func(entry.Local)

	t    *Tree
	f    *os.File
	name string
	size int64
	end  atomic.Int64    // the furthest byte written
	unit int64           // the size of a granule
	data []atomic.Uint32 // one bit a granule: it has, or may have, data
}

// Create makes a temporary file that will have size bytes; what is not
// written of them is zeroes. Its name is in the reserved folder, in the
// volume's own file system.
func (t *Tree) Create(size int64) (*Temp, error) {
	if size < 0 {
		return nil, fmt.Errorf("create a temporary file of %d bytes: %w", size, unix.EINVAL)
	}
	name := t.tempName()
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(t.tmpFD(), name, flags, 0o600)
	if err != nil {
		return nil, failed("create a temporary file in", t.path, t.gone(err))
	}
	unit := max(granule, size/maxGranules+1)
	return &Temp{
		t: t, f: os.NewFile(uintptr(fd), name), name: name, size: size,
		unit: unit, data: make([]atomic.Uint32, (size/unit)/32+1),
	}, nil
}

// WriteAt is [io.WriterAt] within the size given to [Tree.Create]. Blocks of
// zeroes become holes.
func (p *Temp) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off > p.size-int64(len(b)) {
		return 0, fmt.Errorf("write %d bytes at %d of a temporary file of %d: %w", len(b), off, p.size, unix.EFBIG)
	}
	for done := 0; done < len(b); {
		at := off + int64(done)
		n, hole := run(b[done:], at)
		var err error
		if hole {
			err = p.zero(b[done:done+n], at)
		} else {
			err = p.write(b[done:done+n], at)
		}
		if err != nil {
			return done, failed("write", "a temporary file", err)
		}
		done += n
	}
	return len(b), nil
}

// run is the length of the longest start of b, to be written at off, that is
// either whole blocks of zeroes or not.
func run(b []byte, off int64) (n int, hole bool) {
	n = int(-off & (block - 1)) // up to the next block
	if n >= len(b) {
		return len(b), false
	}
	if n == 0 && blank(b) {
		for n = block; blank(b[n:]); {
			n += block
		}
		return n, true
	}
	for ; n < len(b); n += block {
		if blank(b[n:]) {
			return n, false
		}
	}
	return len(b), false
}

// blank reports whether b begins with a block of zeroes.
func blank(b []byte) bool { return len(b) >= block && bytes.Equal(b[:block], zeroes[:]) }

func (p *Temp) write(b []byte, off int64) error {
	for g := off / p.unit; g <= (off+int64(len(b))-1)/p.unit; g++ {
		p.data[g/32].Or(1 << (g % 32))
	}
	if _, err := p.f.WriteAt(b, off); err != nil {
		return err
	}
	end := off + int64(len(b))
	for {
		old := p.end.Load()
		if old >= end || p.end.CompareAndSwap(old, end) {
			return nil
		}
	}
}

// zero makes sure that b, all zeroes, is what is read at off. Where nothing
// was written yet that is so already; after a failed attempt at the same part
// it may not be.
func (p *Temp) zero(b []byte, off int64) error {
	clean := true
	for g := off / p.unit; g <= (off+int64(len(b))-1)/p.unit; g++ {
		clean = clean && p.data[g/32].Load()&(1<<(g%32)) == 0
	}
	if clean || off >= p.end.Load() {
		return nil
	}
	err := unix.Fallocate(int(p.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, int64(len(b)))
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS || err == unix.EPERM {
		return p.write(b, off)
	}
	return err
}

// ReadAt is [io.ReaderAt].
func (p *Temp) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off >= p.size {
		return 0, io.EOF
	}
	want := b
	if rest := p.size - off; int64(len(b)) > rest {
		want = b[:rest]
	}
	n, err := p.f.ReadAt(want, off)
	if err == io.EOF { // the rest has not been written, and is a hole
		clear(want[n:])
		n, err = len(want), nil
	}
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

// Commit gives the file its attributes and then, as the last step, its path;
// until then nothing of it is to be seen in the tree. Missing parents are made
// like [Tree.Defaults]. The Temp is used up if it succeeds; Discard is
// harmless then.
//
// expect is what the caller knows to be at the path: nil for nothing at all.
// If it is something else the result is [ErrChanged] and the tree is as it
// was; see [Tree.publish] for how sure that is. [ErrBlocked]: a directory is
// at the path, or a parent is not one.
//
// Attributes that this process may not set stay as they are: compare a with
// the Attrs of the entry that is returned. That entry is the state that was
// written; if the app has touched it since, the next look will not find it
// equal.
func (p *Temp) Commit(path string, a entry.Attrs, expect *entry.Fingerprint) (entry.Local, error) {
	if err := ValidKey(path); err != nil {
		return entry.Local{}, failed("write", path, err)
	}
	l, err := p.commit(path, a, expect)
	return l, failed("write", path, err)
}

func (p *Temp) commit(path string, a entry.Attrs, expect *entry.Fingerprint) (entry.Local, error) {
	if p.end.Load() < p.size {
		if err := p.f.Truncate(p.size); err != nil {
			return entry.Local{}, err
		}
	}
	fd := int(p.f.Fd())
	var before, after unix.Statx_t
	if err := beneath.Lstat(fd, "", &before); err != nil {
		return entry.Local{}, err
	}
	if err := p.t.dress(fd, &before, a); err != nil {
		return entry.Local{}, err
	}
	if err := setTimes(p.t.tmpFD(), p.name, a.MTime); err != nil {
		return entry.Local{}, p.t.gone(err)
	}
	if err := beneath.Lstat(fd, "", &before); err != nil {
		return entry.Local{}, err
	}
	if p.Placing != nil {
		p.Placing(makeLocal(path, &before))
	}
	if err := p.t.publish(p.name, &before, path, expect); err != nil {
		return entry.Local{}, err
	}
	if err := beneath.Lstat(fd, "", &after); err != nil {
		return entry.Local{}, err
	}
	l := settled(path, &before, &after)
	return l, p.f.Close()
}

// settled is the entry for what was published. The rename gave it a new ctime,
// which is the one to remember, unless something else is new as well: then the
// app was at it between the two looks, and its change must not be taken for ours.
func settled(path string, before, after *unix.Statx_t) entry.Local {
	l := makeLocal(path, after)
	if l.Size != int64(before.Size) || l.Attrs != attrsOf(before) {
		return makeLocal(path, before)
	}
	return l
}

// Discard removes the file unless it was committed.
func (p *Temp) Discard() error {
	if err := p.f.Close(); errors.Is(err, os.ErrClosed) {
		return nil
	}
	err := unix.Unlinkat(p.t.tmpFD(), p.name, 0)
	if err == unix.ENOENT {
		return nil
	}
	return failed("discard", "a temporary file", err)
}
