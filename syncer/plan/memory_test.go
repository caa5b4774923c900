package plan_test

import (
	"fmt"
	"iter"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testmemory"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
)

// The plan of a volume needs as much memory at its end as at its beginning.
func TestMergeStreams(t *testing.T) {
	const count, allowed = 100_000, 1 << 20
	key := func(i int) string { return fmt.Sprintf("folder-%04d/%07d.txt", i/100, i) }
	local := series(count, func(i int) (e entry.Local) {
		e.Key, e.Kind, e.Size = key(i), entry.File, int64(i)
		return e
	})
	remote := series(count, func(i int) entry.Remote { return entry.Remote{Key: key(i), ETag: fmt.Sprintf("%032x", i)} })
	base := series(count, func(i int) (e entry.Base) {
		e.Key, e.ETag = key(i), fmt.Sprintf("%032x", i)
		e.Local.Kind, e.Local.Size = entry.File, int64(i)
		return e
	})
	var early int64
	seen := 0
	for item, err := range plan.Merge(local, remote, base) {
		if err != nil {
			t.Fatal(err)
		}
		if op := plan.Decide(item); op != plan.None {
			t.Fatalf("%s: %v", item.Key, op)
		}
		switch seen++; seen {
		case count / 100:
			early = testmemory.Live()
		case count - count/100:
			if grown := testmemory.Live() - early; grown > allowed {
				t.Errorf("%d bytes more after %d paths", grown, seen)
			}
		}
	}
	if seen != count {
		t.Errorf("%d paths, want %d", seen, count)
	}
}

// series yields what f makes of 0 to count-1.
func series[T any](count int, f func(int) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for i := range count {
			if !yield(f(i), nil) {
				return
			}
		}
	}
}
