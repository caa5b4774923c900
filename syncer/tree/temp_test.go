package tree

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestHoles(t *testing.T) {
	v, dir := openTest(t)
	const size = 8 << 20
	p, err := v.Create(size)
	check(t, err)
	part := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(part)) {
		if off == 3<<20 {
			part[5000] = 1
		} else {
			clear(part)
		}
		n, err := p.WriteAt(part, off)
		if err != nil || n != len(part) {
			t.Fatal(n, err)
		}
	}
	if _, err := p.Commit("sparse", v.Defaults(), nil); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	check(t, unix.Stat(dir+"/sparse", &st))
	if st.Size != size || st.Blocks*512 > 64<<10 {
		t.Errorf("size %d, %d bytes allocated", st.Size, st.Blocks*512)
	}
	want := make([]byte, size)
	want[3<<20+5000] = 1
	if got := content(t, dir+"/sparse"); got != string(want) {
		t.Error("content differs")
	}
}

// Any writes at all, also over one another as when a part is fetched again,
// end in the bytes that were written last, and zeroes elsewhere.
func TestTempHoldsWhatWasWritten(t *testing.T) {
	v, dir := openTest(t)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		size := rapid.IntRange(0, 3<<20).Draw(r, "size")
		p, err := v.Create(int64(size))
		if err != nil {
			r.Fatal(err)
		}
		defer p.Discard()
		want := make([]byte, size)
		for range rapid.IntRange(0, 8).Draw(r, "writes") {
			off := rapid.IntRange(0, size).Draw(r, "off")
			if rapid.Bool().Draw(r, "aligned") {
				off &^= block - 1
			}
			b := want[off:][:rapid.IntRange(0, size-off).Draw(r, "len")]
			fill := byte(rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(r, "fill"))
			for i := range b {
				b[i] = fill
			}
			if len(b) > 0 && rapid.Bool().Draw(r, "speck") {
				b[rapid.IntRange(0, len(b)-1).Draw(r, "where")] ^= 3
			}
			if got, err := p.WriteAt(b, int64(off)); err != nil || got != len(b) {
				r.Fatal(got, err)
			}
		}
		got := make([]byte, size+10)
		if k, err := p.ReadAt(got, 0); k != size || err != io.EOF || !bytes.Equal(got[:k], want) {
			r.Fatalf("before: read %d bytes of %d, %v", k, size, err)
		}
		n++
		path := fmt.Sprintf("f%d", n)
		if _, err := p.Commit(path, v.Defaults(), nil); err != nil {
			r.Fatal(err)
		}
		if b, err := os.ReadFile(dir + "/" + path); err != nil || !bytes.Equal(b, want) {
			r.Fatalf("after: %d bytes of %d differ, %v", len(b), size, err)
		}
		os.Remove(dir + "/" + path)
	})
}

func TestTempKeepsItsSize(t *testing.T) {
	v, _ := openTest(t)
	p, err := v.Create(10)
	check(t, err)
	defer p.Discard()
	for _, tt := range []struct{ n, off int64 }{{11, 0}, {1, 10}, {1, -1}, {5, 6}} {
		if _, err := p.WriteAt(make([]byte, tt.n), tt.off); err == nil {
			t.Errorf("wrote %d bytes at %d of 10", tt.n, tt.off)
		}
	}
	if _, err := v.Create(-1); err == nil {
		t.Error("made a file of negative size")
	}
}

func TestFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m,nr_inodes=40"); err != nil {
		t.Skip("may not mount:", err)
	}
	t.Cleanup(func() { check(t, unix.Unmount(dir, 0)) })
	v, err := Open(dir)
	check(t, err)
	defer v.Close()

	p, err := v.Create(2 << 20)
	check(t, err)
	_, err = p.WriteAt(bytes.Repeat([]byte{1}, 2<<20), 0)
	wantErr(t, err, ErrFull)
	check(t, p.Discard())
	if got := scan(t, v, ""); len(got) != 0 {
		t.Errorf("left %q", keys(got))
	}
	// And out of inodes, wherever that strikes.
	for i := 0; ; i++ {
		if i > 100 {
			t.Fatal("never full")
		}
		p, err := v.Create(0)
		if err == nil {
			_, err = p.Commit(fmt.Sprintf("d%d/f", i), v.Defaults(), nil)
			check(t, p.Discard())
		}
		if err != nil {
			wantErr(t, err, ErrFull)
			break
		}
	}
}
