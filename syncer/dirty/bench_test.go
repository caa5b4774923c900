package dirty_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
)

func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("folder-%03d/file-%06d", i%1000, i)
	}
	return list
}

// BenchmarkTouches is an app that writes 100,000 files at once, some of them
// twice, while everything is uploaded and a flush waits for the end.
func BenchmarkTouches(b *testing.B) {
	const n = 100_000
	keys := names(n)
	b.ReportAllocs()
	for b.Loop() {
		s := dirty.New(n, dirty.RestlessAfter)
		for _, key := range keys {
			s.Touch(key)
		}
		for _, key := range keys[:n/10] {
			s.Touch(key)
		}
		settle(b, s, n)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/path")
}

// settle settles n paths while somebody waits for them.
func settle(b *testing.B, s *dirty.Set, n int) {
	mark := s.Mark()
	waited := make(chan error, 1)
	go func() { waited <- s.Wait(context.Background(), mark, true) }()
	s.Hurry(true)
	for range n {
		w, err := s.Next(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		s.Done(w.Key, dirty.Published, "")
	}
	if err := <-waited; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkWaitBesideOthers is a flush that waits for the last of what it
// concerns while 10,000 newer and 100,000 held paths come and go: looking at
// all of them at each change would take minutes.
func BenchmarkWaitBesideOthers(b *testing.B) {
	const newer, held = 10_000, 100_000
	keys := names(newer + held)
	for b.Loop() {
		b.StopTimer()
		s := dirty.New(newer, dirty.RestlessAfter)
		for _, key := range keys[:held] {
			if err := s.Found(b.Context(), key, nil); err != nil {
				b.Fatal(err)
			}
			if _, err := s.Next(b.Context()); err != nil {
				b.Fatal(err)
			}
			s.Done(key, dirty.Hold, "")
		}
		s.Touch("old")
		mark := s.Mark()
		s.Pause(time.Now().Add(time.Hour))
		for _, key := range keys[held:] {
			s.Touch(key)
		}
		waited := make(chan error, 1)
		go func() { waited <- s.Wait(context.Background(), mark, true) }()
		s.Hurry(true)
		s.Resume()
		b.StartTimer()

		for range newer + 1 {
			w, err := s.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			s.Done(w.Key, dirty.Settled, "")
			s.Held() // as the judge does, though not as often
		}
		if err := <-waited; err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOldest is a status while 100,000 paths are pending.
func BenchmarkOldest(b *testing.B) {
	s := dirty.New(0, dirty.RestlessAfter)
	for _, key := range names(100_000) {
		s.Touch(key)
	}
	for b.Loop() {
		if list, _ := s.Oldest(20); len(list) != 20 {
			b.Fatal(len(list))
		}
	}
}
