package base

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"slices"
)

// bbolt maps its file and follows what it says, partly in goroutines of its
// own: a page that was torn or lost takes the whole process down, with nothing
// that could be recovered. So every page that can be reached is looked at here
// first, through plain reads, and only a file that holds together is opened.
// What the records say is another matter: they carry checksums of their own.
//
// The format, all in native byte order, as of bbolt's format version 2:
//
//	page     id uint64, flags uint16, count uint16, overflow uint32; then count
//	         elements, then what they point at; goes on in overflow more pages
//	meta     magic, version, page size, flags uint32; root, sequence, freelist,
//	         high-water mark, transaction uint64; FNV-64a of all that
//	branch   position, key size uint32; page uint64
//	leaf     flags, position, key size, value size uint32
//	bucket   a leaf value: root page, sequence uint64; with root page 0 a leaf
//	         page follows in place
//
// Positions count from the element's own beginning.
const (
	magic         = 0xED0CDAED
	formatVersion = 2

	headerSize  = 16
	elementSize = 16
	bucketSize  = 16
	metaSize    = 64

	branchPage = 0x01
	leafPage   = 0x02

	bucketFlag = 0x01
	// maxDepth is deeper than any tree can be that fits a disk.
	maxDepth = 48
)

var (
	// errUnsound: the file does not hold together.
	errUnsound = errors.New("file is damaged")

	order = binary.NativeEndian
)

// soundFile is [sound] for the file of that name; one that is missing or empty
// is as good as new.
func soundFile(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	return sound(f, info.Size())
}

// sound returns nil if the bbolt database in file holds together, an error
// that is errUnsound if it does not, and another one if it cannot be read.
func sound(file io.ReaderAt, size int64) error {
	w := walker{file: file}
	root, err := w.readMeta(size)
	if err != nil {
		return err
	}
	w.seen = make([]bool, w.pages)
	return w.walk(root, span{}, 0)
}

type walker struct {
	file     io.ReaderAt
	pageSize int64
	pages    uint64 // the high-water mark: pages from here on are not in use
	seen     []bool
	// One page of each level is looked at at a time.
	levels [maxDepth + 1]level
}

type level struct {
	page     []byte
	elements []element
}

// readMeta finds the newer of the two meta pages that are whole.
func (w *walker) readMeta(size int64) (root uint64, err error) {
	var newest uint64
	for _, pageSize := range []int64{0, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16} {
		// The first meta page begins the file; the second follows a page
		// later, and how long a page is the first may not be able to say.
		var b [headerSize + metaSize]byte
		if _, err := w.file.ReadAt(b[:], pageSize); err == io.EOF {
			break
		} else if err != nil {
			return 0, err
		}
		m := b[headerSize:]
		sum := fnv.New64a()
		sum.Write(m[:metaSize-8])
		says := int64(order.Uint32(m[8:]))
		if order.Uint32(m) != magic || order.Uint32(m[4:]) != formatVersion ||
			order.Uint64(m[metaSize-8:]) != sum.Sum64() || pageSize != 0 && says != pageSize {
			continue
		}
		if tx := order.Uint64(m[48:]); w.pageSize == 0 || tx >= newest {
			newest, w.pageSize = tx, says
			root, w.pages = order.Uint64(m[16:]), order.Uint64(m[40:])
		}
	}
	switch {
	case w.pageSize < 1<<10 || w.pageSize > 1<<16:
		return 0, fmt.Errorf("%w: no meta page is whole", errUnsound)
	case w.pages > uint64(size/w.pageSize):
		return 0, fmt.Errorf("%w: it should have %d pages of %d bytes, and has %d bytes", errUnsound, w.pages, w.pageSize, size)
	}
	return root, nil
}

// span is the range that keys must be in: from its first to before its last;
// nil is no bound.
type span struct{ first, last []byte }

func (s span) holds(key []byte) bool {
	return len(key) > 0 && bytes.Compare(key, s.first) >= 0 && (s.last == nil || bytes.Compare(key, s.last) < 0)
}

// walk looks at the page id and all that is below it.
func (w *walker) walk(id uint64, keys span, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: pages form a circle", errUnsound)
	}
	level := &w.levels[depth]
	page, err := w.read(id, level)
	if err != nil {
		return err
	}
	flags := order.Uint16(page[8:])
	if flags != branchPage && flags != leafPage {
		return fmt.Errorf("%w: page %d is neither branch nor leaf", errUnsound, id)
	}
	elements, ok := parse(page, flags == leafPage, keys, level.elements)
	level.elements = elements
	if !ok || flags == branchPage && len(elements) == 0 {
		return fmt.Errorf("%w: page %d contradicts itself", errUnsound, id)
	}
	for i, e := range elements {
		switch {
		case flags == branchPage:
			below := span{e.key, keys.last}
			if i+1 < len(elements) {
				below.last = elements[i+1].key
			}
			err = w.walk(e.page, below, depth+1)
		case e.bucket:
			err = w.walkBucket(e.value, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) walkBucket(value []byte, depth int) error {
	if len(value) < bucketSize {
		return fmt.Errorf("%w: a bucket is cut off", errUnsound)
	}
	if root := order.Uint64(value); root != 0 {
		return w.walk(root, span{}, depth)
	}
	page := value[bucketSize:]
	if len(page) < headerSize || order.Uint16(page[8:]) != leafPage {
		return fmt.Errorf("%w: a bucket has no page", errUnsound)
	}
	elements, ok := parse(page, true, span{}, nil)
	for _, e := range elements {
		ok = ok && !e.bucket // those are never in place
	}
	if !ok {
		return fmt.Errorf("%w: a bucket contradicts itself", errUnsound)
	}
	return nil
}

// read returns the page id with its overflow. No page may be reached twice.
func (w *walker) read(id uint64, into *level) ([]byte, error) {
	if err := w.claim(id); err != nil {
		return nil, err
	}
	page, err := w.readPages(id, 1, into)
	if err != nil {
		return nil, err
	}
	if order.Uint64(page) != id {
		return nil, fmt.Errorf("%w: page %d takes itself for another", errUnsound, id)
	}
	overflow := uint64(order.Uint32(page[12:]))
	for i := range overflow {
		if err := w.claim(id + 1 + i); err != nil {
			return nil, err
		}
	}
	if overflow > 0 {
		return w.readPages(id, 1+overflow, into)
	}
	return page, nil
}

func (w *walker) claim(id uint64) error {
	if id < 2 || id >= w.pages || w.seen[id] {
		return fmt.Errorf("%w: page %d is out of place", errUnsound, id)
	}
	w.seen[id] = true
	return nil
}

func (w *walker) readPages(id, n uint64, into *level) ([]byte, error) {
	size := int(n) * int(w.pageSize)
	into.page = slices.Grow(into.page[:0], size)[:size]
	_, err := w.file.ReadAt(into.page, int64(id)*w.pageSize)
	return into.page, err
}

type element struct {
	key, value []byte
	page       uint64 // of a branch
	bucket     bool   // value is a bucket
}

// parse takes a page apart, reusing the memory of into. It is not ok if an
// element points out of the page, or a key is out of order.
func parse(page []byte, leaf bool, keys span, into []element) (elements []element, ok bool) {
	count := int(order.Uint16(page[10:]))
	if headerSize+count*elementSize > len(page) {
		return into, false
	}
	elements = into[:0]
	for i := range count {
		at := headerSize + i*elementSize
		head := page[at : at+elementSize]
		var e element
		var pos, keySize, valueSize uint32
		if leaf {
			pos, keySize, valueSize = order.Uint32(head[4:]), order.Uint32(head[8:]), order.Uint32(head[12:])
			e.bucket = order.Uint32(head)&bucketFlag != 0
		} else {
			pos, keySize = order.Uint32(head), order.Uint32(head[4:])
			e.page = order.Uint64(head[8:])
		}
		from := uint64(at) + uint64(pos)
		mid := from + uint64(keySize)
		to := mid + uint64(valueSize)
		if to > uint64(len(page)) {
			return elements, false
		}
		e.key, e.value = page[from:mid], page[mid:to]
		if !keys.holds(e.key) || i > 0 && bytes.Compare(e.key, elements[i-1].key) <= 0 {
			return elements, false
		}
		elements = append(elements, e)
	}
	return elements, true
}
