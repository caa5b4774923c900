// Package testmemory measures, for tests of what must not grow.
package testmemory

import "runtime"

// Live is how many bytes of the heap are in use. What is only garbage does not
// count; the race detector's own memory does not either.
func Live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
