package dirty_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
)

func TestHold(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		said := remote("1")
		b.found("a", said)
		b.Touch("b")
		if h := b.Held(); h != (dirty.Held{Witnessed: true}) {
			t.Errorf("nothing is held: %+v", h)
		}
		b.nextAt(0, "a")
		b.Done("a", dirty.Hold, "delete remote")
		b.nextAt(25*ms, "b")
		time.Sleep(75 * ms)
		b.Done("b", dirty.Hold, "delete remote")
		last := b.start.Add(100 * ms)
		want := dirty.Held{Keys: 2, First: b.start, Last: last, Ripe: last}
		if h := b.Held(); h != want {
			t.Errorf("%+v, want %+v", h, want)
		}
		b.nothing(24 * time.Hour)
		b.Release(b.Held().Last)
		if h := b.Held(); h.Keys != 0 {
			t.Errorf("%+v", h)
		}
		for range 2 {
			w := b.next()
			if !w.MayDelete || (w.Key == "a") != (w.Remote == said) || w.Witnessed != (w.Key == "b") {
				t.Errorf("%+v", w)
			}
			b.Done(w.Key, dirty.Settled, "")
		}
		if b.Len() != 0 {
			t.Error("something stays")
		}
	})
}

func TestHeldWitnessed(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Touch("a")
		b.next()
		b.Done("a", dirty.Hold, "")
		if !b.Held().Witnessed {
			t.Error("a was seen to go")
		}
		b.hold("b")
		if b.Held().Witnessed {
			t.Error("b was found missing")
		}
		b.Touch("b")
		if !b.Held().Witnessed {
			t.Error("b was named by an event by now")
		}
		b.next()
		b.Done("b", dirty.Hold, "")
		b.hold("c")
		b.found("c", nil)
		b.next()
		b.Touch("c")
		b.Done("c", dirty.Hold, "")
		if h := b.Held(); !h.Witnessed || h.Keys != 3 {
			t.Errorf("c was named while it was looked at: %+v", h)
		}
	})
}

// A held deletion that there is news about is looked at again, stays counted
// as held meanwhile, and goes on waiting where it was if nothing has changed.
func TestHeldIsLookedAtAgain(t *testing.T) {
	for name, news := range map[string]func(b bench){
		"event":   func(b bench) { b.Touch("a") },
		"scan":    func(b bench) { b.found("a", nil) },
		"listing": func(b bench) { b.found("a", remote("2")) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b bench) {
				b.hold("a")
				time.Sleep(time.Minute)
				before := b.Held()
				news(b)
				if h := b.Held(); h.Keys != 1 || h.First != before.First {
					t.Errorf("%+v", h)
				}
				if w := b.next(); w.Key != "a" || w.MayDelete {
					t.Errorf("%+v", w)
				}
				if h := b.Held(); h.Keys != 1 || h.Awaited != "" {
					t.Errorf("while it is looked at: %+v", h)
				}
				b.Done("a", dirty.Hold, "")
				if h := b.Held(); h.Keys != 1 || h.First != before.First || h.Last != before.Last {
					t.Errorf("it waits from the beginning: %+v", h)
				}
				news(b)
				b.next()
				b.Done("a", dirty.Published, "") // it had come back
				if b.Held().Keys != 0 || b.Len() != 0 {
					t.Error("it stays")
				}
			})
		})
	}
}

// A deletion that is found again is nothing new, if it is the same one.
func TestHolds(t *testing.T) {
	there, absent := remote("1"), &dirty.Remote{}
	for _, room := range []int{100, 0} {
		inBubble(t, func(t *testing.T, b bench) {
			b.Set = dirty.NewHolding(100, room)
			is := func(key string, remote *dirty.Remote, want bool) {
				t.Helper()
				if b.Holds(key, remote) != want {
					t.Errorf("room for %d, %s: %v", room, key, !want)
				}
			}
			is("here", absent, false)
			b.found("here", absent) // and not in the bucket
			is("here", absent, false)
			b.next()
			is("here", absent, false)
			b.Done("here", dirty.Hold, "")
			b.hold("there")
			is("here", absent, true)
			is("here", nil, false)
			is("here", there, false)
			is("there", nil, true)
			is("there", there, true)
			is("there", absent, false)
			b.Touch("there")
			is("there", there, false)
			b.next()
			is("there", there, false)
			b.Done("there", dirty.Hold, "")
			is("there", there, true)
			b.Release(b.Held().Ripe)
			is("there", there, false)
		})
	}
}

// What came to be held after somebody had looked, and while he decided, is not
// let go with what he has seen.
func TestReleaseWhatWasSeen(t *testing.T) {
	for _, room := range []int{100, 1} {
		t.Run(fmt.Sprint("room for ", room), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b bench) {
				b.Set = dirty.NewHolding(100, room)
				for i := range 4 {
					b.hold(fmt.Sprint("before", i))
				}
				seen := b.Held()
				time.Sleep(ms)
				b.hold("after")
				b.found("before3", nil) // and is looked at again
				b.next()
				b.Done("before3", dirty.Hold, "")
				b.Release(seen.Ripe)
				if room == 1 { // it is not known any more of each when it came
					if h := b.Held(); h.Keys != 4 {
						t.Errorf("%+v", h)
					}
					return
				}
				if h := b.Held(); h.Keys != 1 || h.First != h.Last {
					t.Errorf("%+v", h)
				}
				for range 4 {
					if w := b.next(); w.Key == "after" || !w.MayDelete {
						t.Errorf("%+v", w)
					}
				}
				b.nothing(time.Hour)
			})
		})
	}
}

// Where something is always under way, deletions wait for what was when they
// were found, and for nothing that came later.
func TestRipe(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		for i := range 10 {
			b.found(fmt.Sprint("new", i), nil)
			b.next()
			time.Sleep(ms)
			b.hold(fmt.Sprint("old", i))
			time.Sleep(ms)
			if i == 0 {
				if h := b.Held(); h.Awaited != "new0" || !h.Ripe.IsZero() {
					t.Errorf("%+v", h)
				}
				continue
			}
			b.Done(fmt.Sprint("new", i-1), dirty.Published, "")
			h := b.Held()
			if h.Keys != 2 || h.Awaited != fmt.Sprint("new", i) || h.Ripe.Before(h.First) || !h.Ripe.Before(h.Last) {
				t.Errorf("%+v", h)
			}
			b.Release(h.Ripe)
			if w := b.next(); w.Key != fmt.Sprint("old", i-1) || !w.MayDelete {
				t.Errorf("%+v", w)
			}
			b.Done(fmt.Sprint("old", i-1), dirty.Settled, "")
		}
	})
}

func TestReleasedWhileLookedAt(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.hold("a")
		b.found("a", nil)
		b.next()
		b.Release(b.Held().Last)
		b.Done("a", dirty.Hold, "") // it did not know
		if w := b.nextAt(0, "a"); !w.MayDelete {
			t.Error("it was let go")
		}
	})
}

// An event after the release asks for another judgement.
func TestTouchedAfterRelease(t *testing.T) {
	for _, flying := range []bool{false, true} {
		inBubble(t, func(t *testing.T, b bench) {
			b.hold("a")
			b.Release(b.Held().Last)
			if flying {
				b.next()
			}
			b.Touch("a")
			if flying {
				b.Done("a", dirty.Retry, "it failed")
			}
			if w := b.next(); w.MayDelete {
				t.Error("what was let go is another deletion by now")
			}
		})
	}
}

// Deletions wait for whatever may be the new name of what is deleted.
func TestAwaited(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(b bench)
		want    bool
	}{
		"nothing else":                {func(bench) {}, false},
		"one that waits":              {func(b bench) { b.Touch("new"); b.hold("old") }, true},
		"one that flies":              {func(b bench) { b.found("new", nil); b.next(); b.hold("old") }, true},
		"one that fails":              {func(b bench) { b.fails("new", dirty.Failed, 1); b.hold("old") }, true},
		"one that fails and fails":    {func(b bench) { b.fails("new", dirty.Failed, 6); b.hold("old") }, false},
		"one that the store keeps":    {func(b bench) { b.fails("new", dirty.Retry, 60); b.hold("old") }, true},
		"one that is torn":            {func(b bench) { b.fails("new", dirty.Unrest, 1); b.hold("old") }, true},
		"one in the way":              {func(b bench) { b.fails("new", dirty.Blocked, 1); b.hold("old") }, false},
		"one that became dirty later": {func(b bench) { b.hold("old"); time.Sleep(ms); b.Touch("new") }, false},
		"one that never rests": {func(b bench) {
			stop := b.touchUntil("new", 10*ms, time.Hour)
			b.next()
			b.Done("new", dirty.Unrest, "")
			stop()
			b.hold("old")
		}, false},
		"one that never rests, not looked at yet": {func(b bench) {
			stop := b.touchUntil("new", 10*ms, 10*time.Second)
			time.Sleep(time.Second)
			b.hold("old")
			stop()
		}, true},
		"one that was let go": {func(b bench) {
			b.Release(b.Held().Last)
			b.next()
			b.Done("first", dirty.Retry, "")
			b.hold("old")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b bench) {
				b.hold("first")
				c.prepare(b)
				if h := b.Held(); (h.Awaited == "new") != c.want || h.Awaited != "" && !c.want {
					t.Errorf("%+v", h)
				}
			})
		})
	}
}

// A scan finds that a file is gone, and much later in key order its new name.
func TestScannedTogether(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.hold("long ago")
		time.Sleep(time.Minute)
		from := time.Now()
		b.hold("a")
		time.Sleep(time.Second)
		b.found("z", nil)
		b.next()
		time.Sleep(time.Second)
		b.Scanned(from)
		if h := b.Held(); h.Awaited != "z" || h.Keys != 2 || !h.Last.Equal(time.Now()) || !h.First.Equal(b.start) {
			t.Errorf("while z is under way: %+v", h)
		}
		b.found("later", nil)
		b.Done("z", dirty.Published, "")
		time.Sleep(time.Second)
		b.Scanned(time.Now())
		b.found("later still", nil)
		b.next()
		b.Done("later", dirty.Settled, "")
		if h := b.Held(); h.Awaited != "" {
			t.Errorf("a later scan is not waited for: %+v", h)
		}
	})
}

func TestDeleting(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.Touch("other")
		is := func(want bool, when string) {
			t.Helper()
			if b.Deleting() != want {
				t.Errorf("%s: %v", when, !want)
			}
		}
		is(false, "nothing is held")
		b.hold("a")
		is(true, "held")
		b.Release(b.Held().Last)
		is(true, "let go")
		b.next()
		is(true, "under way")
		b.Done("a", dirty.Failed, "")
		is(true, "failed")
		b.next() // other
		b.next()
		b.Done("a", dirty.Settled, "")
		is(false, "done")
	})
}
