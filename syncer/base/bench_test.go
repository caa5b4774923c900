package base

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// BenchmarkMillion fills a base with a million files, as a restore would, and
// opens and reads it as the next start does. Run it with -benchtime=1x.
func BenchmarkMillion(b *testing.B) {
	const files = 1_000_000
	for b.Loop() {
		dir := b.TempDir()
		d, err := Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		results := make(chan error, files)
		for i := range files {
			now := entry.Time{Sec: 1_790_000_000 + int64(i), Nsec: int32(i)}
			d.Put(entry.Base{
				Key:   fmt.Sprintf("folder-%03d/folder-%02d/file-%07d.jpg", i%1000, i/1000%100, i),
				Local: entry.Fingerprint{Kind: entry.File, Size: int64(i), MTime: now, CTime: now, Inode: uint64(i)},
				Attrs: entry.Attrs{Perm: 0o644, UID: 1000, GID: 1000, MTime: now},
				ETag:  fmt.Sprintf("%032x", i),
			}, func(err error) { results <- err })
		}
		for range files {
			if err := <-results; err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(time.Since(start).Seconds(), "s-fill")
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, fileName))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/files, "disk-B/file")

		d, results = nil, nil
		before := heap()
		start = time.Now()
		if d, err = Open(dir); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s-open")
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB-open")
		start = time.Now()
		n := 0
		for _, err := range d.Range("") {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != files || d.Len() != files {
			b.Fatal(n, d.Len())
		}
		b.ReportMetric(time.Since(start).Seconds(), "s-range")
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
