package base

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// However many records there are, those that were written or read long ago are
// not in the memory of the process; and records that come in key order take
// little more of the disk than they have bytes.
func TestManyRecords(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const records = 150_000
	before := mapped(t)
	var written sync.WaitGroup
	for i := range records {
		e := entry.Base{Key: fmt.Sprintf("folder-%03d/%07d.txt", i/1000, i), ETag: fmt.Sprintf("%032x", i)}
		e.Local = entry.Fingerprint{Kind: entry.File, Size: 1024, Inode: uint64(i), MTime: entry.Time{Sec: 1e9}}
		written.Add(1)
		d.Put(e, func(err error) {
			if err != nil {
				t.Error(err)
			}
			written.Done()
		})
	}
	written.Wait()
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	if perRecord := info.Size() / records; perRecord > 150 {
		t.Errorf("%d bytes of disk a record", perRecord)
	}
	n := 0
	for _, err := range d.Range("") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != records || d.Len() != records {
		t.Errorf("%d records are read, %d counted, %d were written", n, d.Len(), records)
	}
	if grown := mapped(t) - before; grown > info.Size()/2 {
		t.Errorf("%d of %d bytes of the file stay in memory", grown, info.Size())
	}
	if e, err := d.Get("folder-007/0007007.txt"); err != nil || e == nil || e.Local.Inode != 7007 {
		t.Errorf("%+v, %v", e, err)
	}
}

// While nobody knows what came of very many uploads, one more does not cost
// writing down all of them anew.
func TestManyIntents(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	folder := strings.Repeat("a-long-name/", 40)
	rewritten := 0
	var last os.FileInfo
	for i := range 10_000 { // some 5 MB
		d.Begin(entry.Base{Key: fmt.Sprint(folder, i)})
		info, err := os.Stat(filepath.Join(dir, intentsName))
		if err != nil {
			t.Fatal(err)
		}
		if last == nil || !os.SameFile(last, info) {
			rewritten++
		}
		last = info
	}
	if rewritten > 6 {
		t.Errorf("written anew %d times", rewritten)
	}
	if n := len(d.IntentKeys()); n != 10_000 {
		t.Errorf("%d are known", n)
	}
}

// mapped is how many bytes of files this process has in memory.
func mapped(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssFile:")
	value, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
