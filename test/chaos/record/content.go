package record

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Page is the unit in which the kernel changes a file: a write of at most one
// page, within one page, is there or is not; a longer one can be seen half done.
const Page = 4096

// lineSize is how often a content says whose it is.
const lineSize = 64

// Fill puts into b what write number id writes at offset. Every 64 bytes say
// which write and which offset they are of, so that a mixture of two states,
// or a state that slipped, is told from any state that was meant.
func Fill(b []byte, id int, offset int64) {
	for len(b) > 0 {
		within := int(offset % lineSize)
		n := copy(b, line(id, offset-int64(within))[within:])
		b, offset = b[n:], offset+int64(n)
	}
}

func line(id int, offset int64) string {
	return fmt.Sprintf("write %010d at %015d ", id, offset) + strings.Repeat(".", lineSize-37) + "\n"
}

// Sum identifies a content together with its size. It is a sum over pages, so
// that a change of one page in a large file costs that page and no more.
type Sum struct{ A, B uint64 }

func pageSum(index int64, page []byte) Sum {
	h := sha256.New()
	var head [8]byte
	binary.LittleEndian.PutUint64(head[:], uint64(index))
	h.Write(head[:])
	h.Write(page)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return Sum{binary.LittleEndian.Uint64(sum[0:8]), binary.LittleEndian.Uint64(sum[8:16])}
}

func (s Sum) plus(t Sum) Sum  { return Sum{s.A + t.A, s.B + t.B} }
func (s Sum) minus(t Sum) Sum { return Sum{s.A - t.A, s.B - t.B} }

// Content is a file's content, held in memory, whose Sum is always at hand.
type Content struct {
	Bytes []byte
	sum   Sum
}

// NewContent takes over b.
func NewContent(b []byte) *Content { return &Content{Bytes: b, sum: SumOf(b)} }

// Sum is that of all bytes.
func (c *Content) Sum() Sum { return c.sum }

// WriteAt replaces bytes and lengthens the content where it must. The gap, if
// there is one, is zeroes.
func (c *Content) WriteAt(b []byte, offset int) {
	first, last := offset/Page, (offset+len(b)-1)/Page
	if offset > len(c.Bytes) {
		first = len(c.Bytes) / Page
	}
	for i := first; i <= last; i++ {
		c.sum = c.sum.minus(c.pageSum(i))
	}
	if grow := offset + len(b) - len(c.Bytes); grow > 0 {
		c.Bytes = append(c.Bytes, make([]byte, grow)...)
	}
	copy(c.Bytes[offset:], b)
	for i := first; i <= last; i++ {
		c.sum = c.sum.plus(c.pageSum(i))
	}
}

func (c *Content) pageSum(i int) Sum {
	if i*Page >= len(c.Bytes) {
		return Sum{}
	}
	return pageSum(int64(i), c.Bytes[i*Page:min((i+1)*Page, len(c.Bytes))])
}

// SumOf is the Sum of b.
func SumOf(b []byte) Sum {
	var h Hasher
	_, _ = h.Write(b)
	sum, _ := h.Sum()
	return sum
}

// Hasher is an [io.Writer] that takes a content from its beginning to its end.
type Hasher struct {
	sum   Sum
	pages int64
	rest  []byte
}

// Write never fails.
func (h *Hasher) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if len(h.rest) == 0 && len(b) >= Page {
			h.page(b[:Page])
			b = b[Page:]
			continue
		}
		k := min(Page-len(h.rest), len(b))
		h.rest = append(h.rest, b[:k]...)
		b = b[k:]
		if len(h.rest) == Page {
			h.page(h.rest)
			h.rest = h.rest[:0]
		}
	}
	return n, nil
}

func (h *Hasher) page(b []byte) {
	h.sum = h.sum.plus(pageSum(h.pages, b))
	h.pages++
}

// Sum is that of what was written, and how much that was.
func (h *Hasher) Sum() (Sum, int64) {
	sum := h.sum
	if len(h.rest) > 0 {
		sum = sum.plus(pageSum(h.pages, h.rest))
	}
	return sum, h.pages*Page + int64(len(h.rest))
}

// Explain says which writes a content consists of, for people.
func Explain(r io.Reader) string {
	var parts []string
	var from, at int64
	last := ""
	end := func() {
		if at > from {
			parts = append(parts, fmt.Sprintf("[%d,%d) %s", from, at, last))
		}
		from = at
	}
	in := bufio.NewReader(r)
	buf := make([]byte, lineSize)
	for {
		n, err := io.ReadFull(in, buf)
		if n > 0 {
			if who := author(buf[:n], at); who != last {
				end()
				last = who
			}
			at += int64(n)
		}
		if err != nil {
			break
		}
	}
	end()
	const most = 24
	if more := len(parts) - most; more > 0 {
		parts = append(parts[:most], fmt.Sprintf("and %d more pieces", more))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// author is whose bytes b are, at offset.
func author(b []byte, offset int64) string {
	const head = len("write 0000000000")
	if len(b) < head {
		return "too short to tell"
	}
	id, err := strconv.Atoi(string(b[len("write "):head]))
	switch {
	case err == nil && string(b) == line(id, offset)[:len(b)]:
		return fmt.Sprintf("write %d", id)
	case strings.Trim(string(b), "\x00") == "":
		return "zeroes"
	case err == nil && strings.HasPrefix(string(b), "write "):
		return fmt.Sprintf("write %d and others, or out of place", id)
	}
	return "foreign bytes"
}
