package dirty_test

import (
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
		want := dirty.Held{Keys: 2, First: b.start, Last: b.start.Add(100 * ms)}
		if h := b.Held(); h != want {
			t.Errorf("%+v, want %+v", h, want)
		}
		b.nothing(24 * time.Hour)
		b.Release()
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

func TestReleasedWhileLookedAt(t *testing.T) {
	inBubble(t, func(t *testing.T, b bench) {
		b.hold("a")
		b.found("a", nil)
		b.next()
		b.Release()
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
			b.Release()
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
			b.Release()
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
		b.Release()
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
