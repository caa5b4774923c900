package dirty_test

import (
	"fmt"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testmemory"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
)

// A large volume is emptied, and a person lets the deletions go. The set needs
// no more memory for each than fits a small container for a million of them,
// and each is handed out once, with leave.
func TestManyHeld(t *testing.T) {
	const count = 100_000
	const limit = 8<<20 + 40*count
	key := func(i int) string { return fmt.Sprintf("a/folder/as/it/may/be/%07d.txt", i) }
	before := testmemory.Live()
	s := dirty.New(10_000, dirty.RestlessAfter)
	hold := func(i int) {
		if err := s.Found(t.Context(), key(i), nil); err != nil {
			t.Fatal(err)
		}
		w, err := s.Next(t.Context())
		if err != nil || w.MayDelete {
			t.Fatal(w, err)
		}
		s.Done(w.Key, dirty.Hold, "delete remote")
	}
	for i := range count {
		hold(i)
	}
	for i := 0; i < count; i += 10 { // a later scan finds some of them again
		hold(i)
	}
	if h := s.Held(); h.Keys != count || s.Len() != count {
		t.Fatalf("%d are held, of %d in all", h.Keys, s.Len())
	}
	if list, since := s.Oldest(20); len(list) != 20 || since.IsZero() {
		t.Errorf("%d of the oldest are named, dirty since %v", len(list), since)
	}
	if grown := testmemory.Live() - before; grown > limit {
		t.Errorf("%d bytes for each of %d held deletions", grown/count, count)
	}

	mark := s.Mark()
	s.Release(s.Held().Last)
	released := make(chan error, 1)
	go func() {
		released <- s.ReleaseRest(t.Context(), func(yield func(string, error) bool) {
			for i := range count {
				if !yield(key(i), nil) {
					return
				}
			}
		})
	}()
	for i := range count {
		w, err := s.Next(t.Context())
		if err != nil || !w.MayDelete {
			t.Fatalf("%+v, %v", w, err)
		}
		if i == count/2 && !s.Left(mark) {
			t.Error("half of them are left, and nobody knows")
		}
		s.Done(w.Key, dirty.Settled, "")
	}
	if err := <-released; err != nil {
		t.Fatal(err)
	}
	if s.Len() != 0 || s.Left(mark) {
		t.Errorf("%d are left", s.Len())
	}
}
