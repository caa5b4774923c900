package tree

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/internal/testmemory"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// A file of 50 GiB, nearly all of it holes, is written and found with memory
// and disk for what is in it.
func TestHugeSparseFile(t *testing.T) {
	v, dir := openTest(t)
	const size = 50 << 30
	before := testmemory.Live()
	p, err := v.Create(size)
	check(t, err)
	data := []byte("some data")
	for _, off := range []int64{0, size/2 + 777, size - int64(len(data))} {
		_, err := p.WriteAt(data, off)
		check(t, err)
		_, err = p.WriteAt(make([]byte, 1<<20), off/2) // what a download finds in between
		check(t, err)
	}
	if grown := testmemory.Live() - before; grown > 2<<20 {
		t.Errorf("%d bytes of memory", grown)
	}
	l, err := p.Commit("huge", v.Defaults(), nil)
	check(t, err)
	if found := scan(t, v, ""); len(found) != 1 || found[0].Fingerprint != l.Fingerprint || l.Size != size {
		t.Errorf("%+v, want %+v", found, l)
	}
	var st unix.Stat_t
	check(t, unix.Stat(dir+"/huge", &st))
	if st.Size != size || st.Blocks*512 > 64<<10 {
		t.Errorf("size %d, %d bytes allocated", st.Size, st.Blocks*512)
	}
}

// A size is a claim, and costs no memory, whatever it is.
func TestClaimedSizes(t *testing.T) {
	v, _ := openTest(t)
	for _, size := range []int64{1 << 40, 5 << 40, 1 << 50, 1 << 60, 1 << 62, math.MaxInt64} {
		before := testmemory.Live()
		p, err := v.Create(size)
		check(t, err)
		if grown := testmemory.Live() - before; grown > 1<<20 {
			t.Errorf("2^%d: %d bytes of memory", bits.Len64(uint64(size))-1, grown)
		}
		// What was written is read, and zeroes that come later replace it.
		data := bytes.Repeat([]byte("data"), 3*block/4)
		for _, want := range [][]byte{data, make([]byte, len(data))} {
			got := make([]byte, len(want))
			_, err = p.WriteAt(want, 1<<30)
			check(t, err)
			_, err = p.ReadAt(got, 1<<30)
			check(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("2^%d: read other bytes than were written", bits.Len64(uint64(size))-1)
			}
		}
		if _, err := p.WriteAt([]byte("x"), math.MaxInt64); err == nil {
			t.Error("written outside")
		}
		check(t, p.Discard())
	}
}

// A scan of many folders holds the names on the way to where it is, no more.
func TestScanStreams(t *testing.T) {
	v, dir := openTest(t)
	const folders, each = 200, 50
	for i := range folders {
		check(t, os.Mkdir(fmt.Sprintf("%s/folder-%03d", dir, i), 0o755))
		for j := range each {
			check(t, os.WriteFile(fmt.Sprintf("%s/folder-%03d/%d", dir, i, j), nil, 0o644))
		}
	}
	var early int64
	last, seen := entry.Local{}, 0
	for l, err := range v.Scan(t.Context(), "") {
		check(t, err)
		switch seen++; seen {
		case 2 * each:
			early = testmemory.Live()
		case (folders - 2) * each:
			if grown := testmemory.Live() - early; grown > 64<<10 {
				t.Errorf("%d bytes more after %d entries", grown, seen)
			}
		}
		last = l
	}
	if seen < folders*each || last.Key < "folder-199/" {
		t.Errorf("%d entries, the last is %q", seen, last.Key)
	}
}

// A folder of a hundred thousand files is scanned with the memory that its
// names need, in order, and with nothing kept afterwards.
func TestScanOfCrowdedFolder(t *testing.T) {
	v, dir := openTest(t)
	const files, perFile = 100_000, 128
	for i := range files {
		f, err := os.Create(fmt.Sprintf("%s/%06d", dir, i))
		check(t, err)
		check(t, f.Close())
	}
	before := testmemory.Live()
	var most int64
	last, seen := "", 0
	for l, err := range v.Scan(t.Context(), "") {
		check(t, err)
		if l.Key <= last {
			t.Fatalf("%q after %q", l.Key, last)
		}
		last = l.Key
		if seen++; seen%(files/4) == 1 {
			most = max(most, testmemory.Live()-before)
		}
	}
	if seen != files {
		t.Errorf("%d entries of %d files", seen, files)
	}
	if most > files*perFile {
		t.Errorf("%d bytes of memory for %d files", most, files)
	}
	if left := testmemory.Live() - before; left > 1<<20 {
		t.Errorf("%d bytes of memory are kept after the scan", left)
	}
}
