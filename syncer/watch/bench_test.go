package watch

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

// What it takes to begin to watch a folder, in time and in memory of the
// process (the kernel's own is not in it).
func BenchmarkWatch(b *testing.B) {
	dir := b.TempDir()
	const folders = 10000
	for i := range folders {
		check(b, os.MkdirAll(fmt.Sprintf("%s/group-%d/folder-%d", dir, i/100, i), 0o755))
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for b.Loop() {
		before := heap()
		w, err := New(dir, Options{})
		check(b, err)
		s, err := w.open()
		check(b, err)
		s.explore(s.top)
		if n := len(s.byWD); n < folders {
			b.Fatalf("%d watched", n)
		}
		b.ReportMetric(float64(heap()-before)/folders, "B/folder")
		s.close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/folders, "ns/folder")
}
