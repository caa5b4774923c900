package tree

import (
	"crypto/rand"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// One small file of a restore: created, written, given its attributes, put in
// its place, in folders of 100.
func BenchmarkCommit4KiB(b *testing.B) {
	v, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	data := make([]byte, 4096)
	rand.Read(data)
	a := v.Defaults()
	a.Perm, a.MTime = 0o644, entry.Time{Sec: 1e9, Nsec: 1}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p, err := v.Create(int64(len(data)))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.WriteAt(data, 0); err != nil {
			b.Fatal(err)
		}
		if _, err := p.Commit(fmt.Sprintf("dir-%d/file-%d", i/100, i), a, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// A whole scan, by entry.
func BenchmarkScan(b *testing.B) {
	for _, shape := range []struct{ dirs, files int }{{1000, 100}, {1, 100000}} {
		b.Run(fmt.Sprintf("%dx%d", shape.dirs, shape.files), func(b *testing.B) {
			dir := b.TempDir()
			v, err := Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			defer v.Close()
			for d := range shape.dirs {
				path := fmt.Sprintf("%s/dir-%04d", dir, d)
				if err := os.Mkdir(path, 0o755); err != nil {
					b.Fatal(err)
				}
				for f := range shape.files {
					fd, err := unix.Open(fmt.Sprintf("%s/file-%06d.dat", path, f), unix.O_CREAT|unix.O_WRONLY, 0o644)
					if err != nil {
						b.Fatal(err)
					}
					unix.Close(fd)
				}
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				for _, err := range v.Scan(b.Context(), "") {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/entry")
		})
	}
}
