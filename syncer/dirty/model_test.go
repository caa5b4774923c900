package dirty_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
)

// path is what the model knows of one dirty path.
type path struct {
	seq        uint64
	since      time.Time // when what is not in the bucket became dirty
	dirty      time.Time // when it became dirty at all
	witnessed  bool
	remote     *dirty.Remote
	attempts   int
	failures   int // and deferrals
	unrests    int
	mayDelete  bool
	held       bool
	flying     bool
	next       *path // what came while it was flying
	touched    time.Time
	notBefore  time.Time // a backoff
	wasHurried bool
}

// model is the set as it is meant, without its queue, its lists and its clocks.
type model struct {
	set *dirty.Set
	// crowded: the set has no room for held deletions, and keeps no more of
	// them than the model checks then.
	crowded bool
	paths   map[string]*path
	seq     uint64
	hurries int
	paused  time.Time
}

// add returns who is to learn of the news.
func (m *model) add(key string) *path {
	m.seq++
	p := m.paths[key]
	fresh := &path{seq: m.seq, since: time.Now(), dirty: time.Now()}
	switch {
	case p == nil:
		m.paths[key] = fresh
		return fresh
	case !p.flying:
		return p
	case p.next == nil:
		p.next = fresh
	}
	return p.next
}

func (m *model) touch(key string) {
	m.set.Touch(key)
	p := m.add(key)
	p.witnessed, p.mayDelete, p.touched = true, false, time.Now()
	p.wasHurried = m.hurries > 0
}

func (m *model) found(t *rapid.T, key string, remote *dirty.Remote) {
	if err := m.set.Found(t.Context(), key, remote); err != nil {
		t.Fatal(err)
	}
	if p := m.add(key); remote != nil {
		p.remote = remote
	}
}

// take takes what is due, if anything is.
func (m *model) take(t *rapid.T) bool {
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	w, err := m.set.Next(ctx)
	if err != nil {
		return false
	}
	now := time.Now()
	p := m.paths[w.Key]
	if p == nil || p.flying {
		t.Fatalf("%+v is handed out, the model has %+v", w, p)
	}
	want := dirty.Work{
		Key: w.Key, Remote: p.remote, Since: p.since, Attempts: p.attempts,
		Unrests: p.unrests, MayDelete: p.mayDelete, Witnessed: p.witnessed, Restless: w.Restless,
	}
	if m.crowded {
		want.Since, want.Attempts, want.Unrests, want.Witnessed = w.Since, w.Attempts, w.Unrests, w.Witnessed
		if absent(w.Remote) == absent(p.remote) {
			want.Remote = w.Remote
		}
	}
	switch {
	case w != want:
		t.Fatalf("handed out\n%+v, want\n%+v", w, want)
	case now.Before(m.paused):
		t.Fatalf("%+v is handed out in a pause", w)
	case now.Before(p.notBefore):
		t.Fatalf("%+v is handed out %s before its backoff is over", w, p.notBefore.Sub(now))
	case !w.Restless && !p.mayDelete && !p.wasHurried && m.hurries == 0 && now.Sub(p.touched) < 25*time.Millisecond:
		t.Fatalf("%+v is handed out %s after it was touched", w, now.Sub(p.touched))
	case w.Restless && now.Sub(p.dirty) < dirty.RestlessAfter && (m.hurries == 0 || p.unrests == 0):
		t.Fatalf("%+v is restless after %s", w, now.Sub(p.dirty))
	}
	p.flying = true
	return true
}

func absent(r *dirty.Remote) bool { return r != nil && r.Object == nil }

func (m *model) done(key string, outcome dirty.Outcome) {
	m.set.Done(key, outcome, "reason")
	p := m.paths[key]
	p.flying = false
	if outcome != dirty.Hold {
		p.held = false
	}
	next := p.next
	p.next = nil
	if outcome == dirty.Settled || outcome == dirty.Published {
		delete(m.paths, key)
		if next != nil {
			next.wasHurried = next.wasHurried || m.hurries > 0
			m.paths[key] = next
		}
		return
	}
	if next != nil {
		if next.witnessed {
			p.witnessed, p.mayDelete, p.touched = true, false, next.touched
		}
		if next.remote != nil {
			p.remote = next.remote
		}
	}
	p.wasHurried = p.wasHurried || m.hurries > 0
	switch outcome {
	case dirty.Retry, dirty.Failed, dirty.Deferred, dirty.Missed, dirty.Blocked:
		if outcome != dirty.Deferred {
			p.attempts++
		}
		if outcome != dirty.Retry && outcome != dirty.Blocked {
			p.failures++
		}
		p.notBefore = time.Now().Add(min(50*time.Millisecond<<min(max(p.attempts, p.failures)-1, 16), 30*time.Second) / 2)
	case dirty.Unrest, dirty.Advanced:
		p.unrests++
		p.notBefore = time.Now().Add(25 * time.Millisecond)
		switch {
		case outcome == dirty.Unrest:
		case next != nil:
			p.seq, p.since = next.seq, next.since
		default:
			m.seq++
			p.seq, p.since = m.seq, time.Now()
		}
	case dirty.Hold:
		p.held = p.held || !p.mayDelete
	}
}

func (m *model) release(t *rapid.T) {
	m.set.Release(time.Now())
	base := func(yield func(string, error) bool) {
		for _, key := range modelKeys {
			if !yield(key, nil) {
				return
			}
		}
	}
	if err := m.set.ReleaseRest(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	for _, p := range m.paths {
		if p.held {
			p.held, p.mayDelete = false, true
		}
	}
}

func (m *model) check(t *rapid.T) {
	if m.set.Len() != len(m.paths) || m.set.Mark() != m.seq {
		t.Fatalf("%d paths, mark %d; want %d, %d", m.set.Len(), m.set.Mark(), len(m.paths), m.seq)
	}
	keys, witnessed := 0, true
	for _, p := range m.paths {
		if p.held {
			keys++
			witnessed = witnessed && p.witnessed
		}
	}
	h := m.set.Held()
	if m.crowded {
		witnessed = h.Witnessed
	}
	if h.Keys != keys || h.Witnessed != witnessed || keys > 0 && h.First.After(h.Last) {
		t.Fatalf("%+v; want %d keys, witnessed %v", h, keys, witnessed)
	}
	for mark := range m.seq + 1 {
		want := slices.ContainsFunc(slices.Collect(maps.Values(m.paths)), func(p *path) bool { return p.seq <= mark })
		// Of a crowd it is not known since when each is dirty, only that of all.
		if got := m.set.Left(mark); got != want && !(m.crowded && got) {
			t.Fatalf("of what was dirty at %d something is left: %v, want %v", mark, got, want)
		}
	}
	if m.crowded {
		return
	}
	list, since := m.set.Oldest(len(m.paths) + 1)
	if len(list) != len(m.paths) || !slices.IsSortedFunc(list, func(a, b dirty.Pending) int { return a.Since.Compare(b.Since) }) {
		t.Fatalf("%d paths: %+v", len(m.paths), list)
	}
	for _, p := range list {
		if !p.Since.Equal(m.paths[p.Key].since) || p.Since.Before(since) {
			t.Fatalf("%s is dirty since %s, want %s", p.Key, p.Since, m.paths[p.Key].since)
		}
	}
}

func (m *model) drawFlying(t *rapid.T) (string, bool) {
	var flying []string
	for _, key := range slices.Sorted(maps.Keys(m.paths)) {
		if m.paths[key].flying {
			flying = append(flying, key)
		}
	}
	if len(flying) == 0 {
		return "", false
	}
	return rapid.SampledFrom(flying).Draw(t, "flying"), true
}

var modelKeys = []string{"a", "b", "c", "d", "d/"}

// Whatever happens in whatever order, the set does what the model does, and in
// the end everything that was ever dirty gets settled.
func TestModel(t *testing.T) {
	t.Run("roomy", func(t *testing.T) {
		checkModel(t, func() *model { return &model{set: dirty.New(100, dirty.RestlessAfter), paths: map[string]*path{}} })
	})
	t.Run("crowded", func(t *testing.T) {
		checkModel(t, func() *model {
			return &model{set: dirty.NewHolding(100, 1), crowded: true, paths: map[string]*path{}}
		})
	})
}

func checkModel(t *testing.T, empty func() *model) {
	outcomes := []dirty.Outcome{dirty.Settled, dirty.Published, dirty.Retry, dirty.Failed, dirty.Deferred, dirty.Missed, dirty.Blocked, dirty.Unrest, dirty.Advanced, dirty.Hold}
	genKey := rapid.SampledFrom(modelKeys)
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			m := empty()
			t.Repeat(map[string]func(*rapid.T){
				"touch":      func(t *rapid.T) { m.touch(genKey.Draw(t, "key")) },
				"scan":       func(t *rapid.T) { m.found(t, genKey.Draw(t, "key"), nil) },
				"list":       func(t *rapid.T) { m.found(t, genKey.Draw(t, "key"), remote(fmt.Sprint(m.seq))) },
				"list none":  func(t *rapid.T) { m.found(t, genKey.Draw(t, "key"), &dirty.Remote{}) },
				"next":       func(t *rapid.T) { m.take(t) },
				"next again": func(t *rapid.T) { m.take(t) },
				"done": func(t *rapid.T) {
					if key, ok := m.drawFlying(t); ok {
						m.done(key, rapid.SampledFrom(outcomes).Draw(t, "outcome"))
					}
				},
				"sleep": func(t *rapid.T) {
					time.Sleep(time.Duration(rapid.SampledFrom([]int{1, 10, 30, 100, 5_000, 40_000}).Draw(t, "ms")) * time.Millisecond)
				},
				"release": m.release,
				"hurry": func(t *rapid.T) {
					on := m.hurries == 0 || m.hurries < 3 && rapid.Bool().Draw(t, "on")
					m.set.Hurry(on)
					if on {
						m.hurries++
						for _, p := range m.paths {
							p.wasHurried = true
						}
					} else {
						m.hurries--
					}
				},
				"again": func(t *rapid.T) {
					key := genKey.Draw(t, "key")
					m.set.Again(key)
					if p := m.paths[key]; p != nil && !p.flying {
						p.notBefore, p.wasHurried = time.Time{}, true
					}
				},
				"pause": func(t *rapid.T) {
					m.paused = time.Now().Add(time.Duration(rapid.IntRange(0, 1000).Draw(t, "ms")) * time.Millisecond)
					m.set.Pause(m.paused)
				},
				"": m.check,
			})

			waited := make(chan error, 1)
			mark := m.set.Mark()
			go func() { waited <- m.set.Wait(t.Context(), mark, false) }()
			for range 200 {
				for key, p := range maps.Clone(m.paths) {
					if p.flying {
						m.done(key, dirty.Settled)
					}
				}
				m.release(t)
				for m.take(t) {
				}
				time.Sleep(time.Second)
			}
			m.check(t)
			if m.set.Len() != 0 {
				t.Fatalf("%d paths are never handed out", m.set.Len())
			}
			if err := <-waited; err != nil {
				t.Fatal(err)
			}
		})
	})
}
