package writers_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/writers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a bucket and writers that look into it.
type stage struct {
	t *testing.T
	*bucket
}

func inBubble(t *testing.T, f func(t *testing.T, s stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, stage{t, newBucket()}) })
}

func (s stage) writer(id string) *writers.Roster { return writers.New(s.bucket, "app/", id) }

// looks wants r to see those others, and news or none.
func (s stage) looks(r *writers.Roster, wantNews bool, want ...string) {
	s.t.Helper()
	others, news, err := r.Look(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if !slices.Equal(others, want) || news != wantNews {
		s.t.Fatalf("sees %q, news %v; want %q, %v", others, news, want, wantNews)
	}
}

func (s stage) fails(r *writers.Roster, want error) {
	s.t.Helper()
	if _, news, err := r.Look(s.t.Context()); !errors.Is(err, want) || news {
		s.t.Fatalf("error %v, news %v; want %v", err, news, want)
	}
}

func TestAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		a := s.writer("a")
		for range 100 {
			s.looks(a, false)
			time.Sleep(3 * time.Second)
		}
		if got := s.keys(); !slices.Equal(got, []string{"app/.minio-sidecar/writers/a.json"}) {
			t.Errorf("the bucket has %q", got)
		}
		if s.writes > 12 { // one at first, and one each 30 s
			t.Errorf("%d writes in 5 minutes", s.writes)
		}
		if s.reads > 0 {
			t.Errorf("%d reads of nobody", s.reads)
		}
	})
}

func TestComeAndGo(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		a, b, c := s.writer("a"), s.writer("b"), s.writer("c")
		s.looks(a, false)
		s.looks(b, true, "a")
		s.looks(a, true, "b")
		s.looks(a, false, "b")
		s.looks(c, true, "a", "b")
		s.looks(b, true, "a", "c")
		if err := b.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.looks(a, true, "c") // the bucket may hold b's last words
		s.looks(a, false, "c")
		s.looks(c, true, "a")
		s.looks(s.writer("d"), true, "a", "c")
	})
}

// As long as a writer looks at all, the others see it.
func TestRenewal(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		a, b := s.writer("a"), s.writer("b")
		s.looks(a, false)
		s.looks(b, true, "a")
		s.looks(a, true, "b")
		for range 1000 {
			time.Sleep(3 * time.Second)
			s.looks(a, false, "b")
			s.looks(b, false, "a")
		}
		// An object is read when it has changed, not at each look.
		if s.reads > 250 {
			t.Errorf("%d reads", s.reads)
		}
	})
}

func TestGoneAfterSilence(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		a, b := s.writer("a"), s.writer("b")
		s.looks(b, false)
		s.looks(a, true, "b")
		start := time.Now()
		for time.Since(start) < 87*time.Second {
			time.Sleep(3 * time.Second)
			s.looks(a, false, "b")
		}
		time.Sleep(3 * time.Second)
		s.looks(a, true) // what it did last is still to be pulled
		s.looks(a, false)
		// It was only asleep.
		s.looks(b, true, "a")
		s.looks(a, true, "b")
		s.looks(a, false, "b")
	})
}

// However wrong the clocks are: silence is measured by the observer alone.
// One that took its leave left no more than it said: its silence is no news,
// and costs no listing of the whole bucket.
func TestSilenceOfTheReleased(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		a, b := s.writer("a"), s.writer("b")
		if err := a.Announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, news, err := b.Look(t.Context()); err != nil || !news {
			t.Errorf("the first look: %v, %v", news, err)
		}
		for range 100 {
			time.Sleep(3 * time.Second)
			if others, news, err := b.Look(t.Context()); err != nil || news || len(others) > 0 {
				t.Fatalf("%q, %v, %v", others, news, err)
			}
		}
	})
}

func TestSkewedClocks(t *testing.T) {
	for _, skew := range []time.Duration{-1000 * time.Hour, 1000 * time.Hour} {
		inBubble(t, func(t *testing.T, s stage) {
			s.skew = skew
			a, b := s.writer("a"), s.writer("b")
			s.looks(a, false)
			s.looks(b, true, "a")
			s.looks(a, true, "b")
			s.looks(a, false, "b")
		})
	}
}

// The first look cannot know how long an object has been silent, and waits.
func TestLeftovers(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		s.looks(s.writer("crashed"), false)
		time.Sleep(time.Hour)
		a := s.writer("a")
		s.looks(a, true, "crashed")
		time.Sleep(89 * time.Second)
		s.looks(a, false, "crashed")
		time.Sleep(time.Second)
		s.looks(a, true)
	})
}

func TestTidy(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		s.skew = -5 * time.Hour
		crashed, left := s.writer("crashed"), s.writer("left")
		s.looks(crashed, false)
		s.looks(left, true, "crashed")
		if err := left.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.put("app/.minio-sidecar/writers/notes.txt", "somebody's")
		time.Sleep(23 * time.Hour)
		a := s.writer("a")
		s.looks(a, true, "crashed")
		time.Sleep(2 * time.Minute)
		s.looks(a, true)
		if len(s.keys()) != 4 {
			t.Fatalf("tidied too early: %q", s.keys())
		}
		time.Sleep(time.Hour)
		s.looks(a, false) // renews, so that the store's clock can be read off
		s.looks(a, false)
		if got := s.keys(); !slices.Equal(got, []string{"app/.minio-sidecar/writers/a.json", "app/.minio-sidecar/writers/notes.txt"}) {
			t.Errorf("the bucket has %q", got)
		}
		s.looks(a, false)
	})
}

// One that has no right to delete can do without.
func TestTidyDenied(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		s.fail = func(action, _ string) error {
			if action == "delete" {
				return store.ErrAccessDenied
			}
			return nil
		}
		s.looks(s.writer("crashed"), false)
		time.Sleep(25 * time.Hour)
		a := s.writer("a")
		s.looks(a, true, "crashed")
		time.Sleep(2 * time.Minute)
		s.looks(a, true)
		s.looks(a, false)
		if len(s.keys()) != 2 {
			t.Errorf("%q", s.keys())
		}
	})
}

// News is told once, and never swallowed by a look that failed.
func TestNewsSurvivesFailure(t *testing.T) {
	for _, action := range []string{"list", "read", "upload"} {
		t.Run(action, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s stage) {
				a, b, z := s.writer("a"), s.writer("b"), s.writer("z")
				s.looks(b, false)
				s.looks(z, true, "b")
				s.looks(a, true, "b", "z")

				// b leaves, z renews: the news is in the one that can be read.
				time.Sleep(40 * time.Second)
				if err := errors.Join(b.Release(t.Context()), z.Announce(t.Context())); err != nil {
					t.Fatal(err)
				}
				s.fail = func(did, key string) error {
					if did == action && (did != "read" || strings.HasSuffix(key, "z.json")) {
						return store.ErrUnreachable
					}
					return nil
				}
				for range 5 {
					s.fails(a, store.ErrUnreachable)
				}
				s.fail = nil
				s.looks(a, true, "z")
				s.looks(a, false, "z")
			})
		})
	}
}

// What cannot be read may be a writer, and nobody is held up by it.
func TestUnreadable(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		err  error
	}{
		"empty":         {"", nil},
		"not JSON":      {"hello", nil},
		"another JSON":  {`["released"]`, nil},
		"another state": {`{"writer":"x","state":"paused"}`, nil},
		"no state":      {`{"writer":"x"}`, nil},
		"damaged":       {`{"state":"released"}`, store.ErrDamaged},
		"denied":        {`{"state":"released"}`, store.ErrAccessDenied},
		"large":         {`{"state":"released","pad":"` + strings.Repeat("x", 5000) + `"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s stage) {
				s.put("app/.minio-sidecar/writers/x.json", c.body)
				s.fail = func(action, key string) error {
					if action == "read" && strings.HasSuffix(key, "/x.json") {
						return c.err
					}
					return nil
				}
				a, b := s.writer("a"), s.writer("b")
				s.looks(a, true, "x")
				s.looks(b, true, "a", "x")
				s.looks(a, true, "b", "x")
				reads := s.reads
				s.looks(a, false, "b", "x")
				if s.reads != reads {
					t.Error("it is read again although it has not changed")
				}
				if c.body != "" && len(c.body) > 4096 && reads > 2 {
					t.Error("something large was read")
				}
				time.Sleep(91 * time.Second)
				s.looks(b, true) // it has been silent for too long, as has a
			})
		})
	}
}

// An object that goes between the listing and the look is news only next time.
func TestVanishes(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		a, b := s.writer("a"), s.writer("b")
		s.looks(b, false)
		s.fail = func(action, _ string) error {
			if action == "read" {
				return store.ErrNotFound
			}
			return nil
		}
		s.looks(a, false)
		s.fail = nil
		s.looks(a, true, "b")
		delete(s.objects, "app/.minio-sidecar/writers/b.json")
		s.looks(a, true)
		s.looks(a, false)
	})
}

// Whoever removes our own presence has emptied the prefix, also when it was
// just about to be renewed.
func TestForgotten(t *testing.T) {
	for _, after := range []time.Duration{time.Second, time.Minute} {
		inBubble(t, func(t *testing.T, s stage) {
			a := s.writer("a")
			s.looks(a, false)
			clear(s.objects)
			time.Sleep(after)
			s.fails(a, writers.ErrForgotten)
			if len(s.keys()) > 0 {
				t.Error("it announced itself to another bucket")
			}
		})
	}
}

// A listing that lacks our own presence, which is there, is none.
func TestListingThatIsNone(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		a := s.writer("a")
		s.looks(a, false)
		s.empty = true
		s.fails(a, store.ErrUnreachable)
		s.empty = false
		s.looks(a, false)
	})
}

func TestReleaseWithoutAnnounce(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		a := s.writer("a")
		if err := a.Release(t.Context()); err != nil || len(s.keys()) > 0 {
			t.Errorf("%v, %q", err, s.keys())
		}
		s.fail = func(string, string) error { return store.ErrUnreachable }
		s.fails(a, store.ErrUnreachable)
		if err := a.Announce(t.Context()); !errors.Is(err, store.ErrUnreachable) || !strings.Contains(err.Error(), "writer a") {
			t.Errorf("%v", err)
		}
	})
}

// Two that come at the same moment: at least one sees the other at once, and
// both do soon.
func TestAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s stage) {
		var mu sync.Mutex
		seen := 0
		var both sync.WaitGroup
		for _, id := range []string{"a", "b"} {
			r := s.writer(id)
			both.Go(func() {
				others, _, err := r.Look(t.Context())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				seen += len(others)
			})
		}
		both.Wait()
		if seen == 0 {
			t.Error("neither saw the other")
		}
	})
}
