package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

// TestKilledBetweenCommitAndBase: the store has done what sync asked for, and
// sync is killed before it learns of that. Whatever the app does until the
// next start, the two come together again: nothing is a conflict, nothing
// comes back, and nothing is done twice.
func TestKilledBetweenCommitAndBase(t *testing.T) {
	t.Parallel()
	w, g := newCrashWorld(t, *seedFlag+2, syncerBinary(t))
	large := func(a *app, p string) error {
		return a.writing(p, os.O_TRUNC, "written, large", func(f *file) error { return f.grow(9<<20, 1<<20) })
	}
	write := func(a *app, p string) error { return a.writeNew(p, "written", 5000) }
	change := func(a *app, p string) error {
		return a.writing(p, 0, "appended to", func(f *file) error { return f.grow(100, 100) })
	}
	remove := func(a *app, p string) error { return a.remove(p, "deleted") }
	rename := func(a *app, p string) error { return a.rename(p, p+".renamed", "renamed") }
	nothing := func(*app, string) error { return nil }
	n := 0
	for _, c := range []struct {
		name          string
		before, first func(*app, string) error
	}{
		{"new", nothing, write},
		{"new and large", nothing, large},
		{"changed", write, change},
		{"changed and large", large, change},
		{"deleted", write, remove},
		{"renamed", write, rename},
	} {
		for _, then := range []struct {
			name string
			do   func(*app, string) error
		}{{"rests", nothing}, {"is changed", change}, {"is deleted", remove}, {"is written anew", write}, {"is renamed", rename}} {
			gone, large := c.name == "deleted" || c.name == "renamed", strings.HasSuffix(c.name, "large")
			if gone && then.name != "rests" && then.name != "is written anew" || large && then.name != "rests" && then.name != "is changed" {
				continue
			}
			for nth := 1; nth == 1 || nth == 2 && c.name == "renamed"; nth++ {
				n++
				p := fmt.Sprintf("file%d", n)
				w.note(fmt.Sprintf("%s, then %s", c.name, then.name))
				w.try(c.before(w.app, p))
				w.calmEnd()
				g.forget()
				w.node.kill() // so that sync finds all of what comes at once
				w.try(c.first(w.app, p))
				trap := g.set(&trap{nth: nth, after: true, match: g.changes, spring: w.node.kill})
				w.node.start()
				select {
				case <-trap.sprung:
				case <-time.After(patience):
					w.fatal("what was to be done was never done")
				}
				w.whatIsLeft()
				w.try(then.do(w.app, p))
				done := g.wrote()
				w.calmEnd()
				w.nothingNeedless(g)
				if again := g.wrote() - done; again > 0 && then.name == "rests" && !gone {
					w.fatal(fmt.Sprintf("%s: %d objects changed after the restart, though nothing was left to do", c.name, again))
				}
			}
		}
	}
}

// try is for what the app does by itself.
func (w *world) try(err error) {
	w.t.Helper()
	if err != nil {
		w.fatal(err.Error())
	}
}

// damages are what can happen to the state folder.
func damages() map[string]func(*rand.Rand, string) error {
	const base, uploads = "base.db", "uploads.log"
	cut := func(name string) func(*rand.Rand, string) error {
		return func(rng *rand.Rand, dir string) error {
			return alter(filepath.Join(dir, name), func(b []byte) []byte { return b[:rng.IntN(len(b)+1)] })
		}
	}
	flip := func(name string, most int) func(*rand.Rand, string) error {
		return func(rng *rand.Rand, dir string) error {
			return alter(filepath.Join(dir, name), func(b []byte) []byte {
				for range 1 + rng.IntN(most) {
					if len(b) > 0 {
						b[rng.IntN(len(b))] ^= byte(1 + rng.IntN(255))
					}
				}
				return b
			})
		}
	}
	lose := func(name string) func(*rand.Rand, string) error {
		return func(_ *rand.Rand, dir string) error { return os.RemoveAll(filepath.Join(dir, name)) }
	}
	return map[string]func(*rand.Rand, string) error{
		"base torn":             cut(base),
		"bytes of base flipped": flip(base, 8),
		"a page of base lost": func(rng *rand.Rand, dir string) error {
			return alter(filepath.Join(dir, base), func(b []byte) []byte {
				at := rng.IntN(max(len(b)/record.Page, 1)) * record.Page
				clear(b[at:min(at+record.Page, len(b))])
				return b
			})
		},
		"base missing":             lose(base),
		"uploads torn":             cut(uploads),
		"bytes of uploads flipped": flip(uploads, 4),
		"uploads missing":          lose(uploads),
		"state lost": func(_ *rand.Rand, dir string) error {
			list, err := os.ReadDir(dir)
			for _, e := range list {
				if err == nil {
					err = os.RemoveAll(filepath.Join(dir, e.Name()))
				}
			}
			return err
		},
	}
}

// alter rewrites a file in place. One that is missing is left so.
func alter(name string, change func([]byte) []byte) error {
	b, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(name, change(b), 0o600)
}

// TestStateDamaged: the volume survives, and what the syncer remembers does
// not, or not whole. Where everything was in the bucket nothing is uploaded or
// fetched again; where something was not, nothing of it gets lost.
func TestStateDamaged(t *testing.T) {
	t.Parallel()
	binary := syncerBinary(t)
	for name, damage := range damages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, g := newCrashWorld(t, *seedFlag+3, binary)
			rng := rand.New(rand.NewPCG(*seedFlag, 200))
			w.work(40)
			for range 1 + *killsFlag/20 {
				w.calmEnd()
				w.node.kill()
				g.forget()
				w.try(damage(rng, w.node.state))
				if rng.IntN(2) == 0 {
					w.restore("with the volume kept and the state damaged")
				}
				w.settle()
				if n := g.wrote(); n > 0 {
					w.fatal(fmt.Sprintf("%d objects were changed, though volume and bucket were the same", n))
				}
				w.onlyWhatIsMissing(g, w.partOf())
				w.calmEnd() // whose verify reads all
				w.count("damaged at rest")

				w.killing(g, rng, func() *child {
					w.work(1 + rng.IntN(8))
					return w.node.take()
				})
				w.node.kill()
				w.whatIsLeft()
				w.mu.Lock()
				swapped := w.record.Swapped()
				w.mu.Unlock()
				if swapped {
					continue // of which one side has to give way; see loseState
				}
				w.try(damage(rng, w.node.state))
				w.comeToTerms("after the state was damaged")
				w.count("damaged with changes pending")
			}
			t.Log(w.counts.String())
		})
	}
}

// TestVolumeLost: the state survives, and the volume does not: the base is no
// ancestor of an empty volume, and nothing in the bucket is deleted. Where all
// was in the bucket nothing there is even touched. What had not got there is
// lost with the volume, and that alone.
func TestVolumeLost(t *testing.T) {
	t.Parallel()
	w, g := newCrashWorld(t, *seedFlag+4, syncerBinary(t))
	rng := rand.New(rand.NewPCG(*seedFlag+4, 100))
	w.work(60)
	w.calmEnd()
	for range 1 + *killsFlag/40 {
		for _, first := range []string{"restore", "sync"} {
			w.node.kill()
			w.loseVolume(g, first)
			if n := g.wrote(); n > 0 {
				w.fatal(fmt.Sprintf("%d objects were changed because the volume was lost", n))
			}
			w.count("lost at rest")

			w.killing(g, rng, func() *child {
				w.work(1 + rng.IntN(8))
				return w.node.take()
			})
			w.node.kill()
			time.Sleep(200 * time.Millisecond) // what the dead one sent arrives, or does not
			w.whatIsLeft()
			w.loseVolume(g, first)
			w.count("lost with changes pending")
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.reads) == 0 {
		t.Error("nothing was read: what was restored?")
	}
	t.Log(w.counts.String())
}

// loseVolume empties the volume and lets the bucket fill it again.
func (w *world) loseVolume(g *gate, first string) {
	w.t.Helper()
	g.forget()
	w.try(os.RemoveAll(w.node.volume))
	w.try(os.Mkdir(w.node.volume, 0o755))
	w.note("the volume is lost, the state is not; " + first + " comes first")
	if first == "restore" {
		w.restore("with the volume lost and the state kept")
	} else {
		w.node.start()
		w.node.await("restored", func(c condition) bool { return c.Restored })
	}
	found, err := survey(w.node.volume)
	w.try(err)
	w.mu.Lock()
	list := w.record.Check(found)
	w.mu.Unlock()
	w.demand("after the loss of the volume, "+first+" first", list, w.node.volume)
	w.mu.Lock()
	w.record.Became(w.since(), found, "restored")
	w.mu.Unlock()
	w.calmEnd()
}
