package base

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// The test binary is also the other process that some tests need; see child_test.go.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role))
	}
	goleak.VerifyTestMain(m)
}

func mustOpen(t testing.TB, dir string) *DB {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// fastDir is a directory in memory where there is one: what is not about the
// disk need not wait for it.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "base-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// fatal is what testing.T and rapid.T have in common.
type fatal interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// put writes all and waits until that is done.
func put(t fatal, d *DB, list ...entry.Base) {
	t.Helper()
	await(t, len(list), func(i int, done func(error)) { d.Put(list[i], done) })
}

func drop(t fatal, d *DB, keys ...string) {
	t.Helper()
	await(t, len(keys), func(i int, done func(error)) { d.Delete(keys[i], done) })
}

func await(t fatal, n int, change func(i int, done func(error))) {
	t.Helper()
	results := make(chan error, n)
	for i := range n {
		change(i, func(err error) { results <- err })
	}
	for range n {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
}

// some makes an entry for key, told apart from others of the key by n.
func some(key string, n int) entry.Base {
	return entry.Base{Key: key, ETag: fmt.Sprint("etag-", n), Local: entry.Fingerprint{Kind: entry.File, Inode: uint64(n)}}
}

func keysOf(t fatal, d *DB, prefix string) (keys []string) {
	t.Helper()
	for e, err := range d.Range(prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Key)
	}
	return keys
}

// Whatever is done to a base, it is a sorted map that a restart does not change.
func TestModel(t *testing.T) {
	parent := fastDir(t)
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(parent, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { d.Close() }()
		model, meta := map[string]entry.Base{}, map[string]string{}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				list := rapid.SliceOfN(genEntry(), 1, 20).Draw(t, "entries")
				put(t, d, list...)
				for _, e := range list {
					model[e.Key] = e
				}
			},
			"delete": func(t *rapid.T) {
				keys := []string{"not/there"}
				for key := range model {
					if rapid.Bool().Draw(t, "delete "+key) {
						keys = append(keys, key)
					}
				}
				drop(t, d, keys...)
				for _, key := range keys {
					delete(model, key)
				}
			},
			"set meta": func(t *rapid.T) {
				name, value := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"), rapid.String().Draw(t, "value")
				if err := d.SetMeta(name, value); err != nil {
					t.Fatal(err)
				}
				meta[name] = value
			},
			"reset": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "really") > 0 {
					t.Skip()
				}
				if err := d.Reset(); err != nil {
					t.Fatal(err)
				}
				clear(model)
				clear(meta)
			},
			"reopen": func(t *rapid.T) {
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				if d, err = Open(dir); err != nil {
					t.Fatal(err)
				}
				if d.PutAside != "" {
					t.Fatal("was put aside: ", d.PutAside)
				}
			},
			"": func(t *rapid.T) {
				if d.Len() != int64(len(model)) {
					t.Fatalf("%d entries, want %d", d.Len(), len(model))
				}
				prefix := rapid.SampledFrom([]string{"", "a", "a/", "b/c", "zzz"}).Draw(t, "prefix")
				var want []string
				for _, key := range slices.Sorted(maps.Keys(model)) {
					if strings.HasPrefix(key, prefix) {
						want = append(want, key)
					}
				}
				if got := keysOf(t, d, prefix); !slices.Equal(got, want) {
					t.Fatalf("range of %q: %q, want %q", prefix, got, want)
				}
				for key, want := range model {
					if got, err := d.Get(key); err != nil || got == nil || *got != want {
						t.Fatalf("%q: %+v, %v, want %+v", key, got, err, want)
					}
				}
				if got, err := d.Get("not/there"); got != nil || err != nil {
					t.Fatalf("found what is not there: %+v, %v", got, err)
				}
				for _, name := range []string{"x", "y", "z"} {
					if got, err := d.Meta(name); err != nil || got != meta[name] {
						t.Fatalf("meta %s: %q, %v, want %q", name, got, err, meta[name])
					}
				}
			},
		})
	})
}

// Pages end where they end; nothing is seen twice or not at all.
func TestRangePages(t *testing.T) {
	d := mustOpen(t, fastDir(t))
	var want []string
	for n := range 2*pageOf + 2 {
		if n%(pageOf/2) < 3 || n%pageOf > pageOf-3 { // around the ends of pages
			if got := keysOf(t, d, "k/"); !slices.Equal(got, want) {
				t.Fatalf("with %d entries: %d were seen", n, len(got))
			}
		}
		key := fmt.Sprintf("k/%05d", n)
		put(t, d, some(key, n))
		want = append(want, key)
	}
	put(t, d, some("j", 0), some("k", 0), some("k0", 0), some("k/", 0))
	if got := keysOf(t, d, "k/"); !slices.Equal(got, append([]string{"k/"}, want...)) {
		t.Error("the prefix does not bound the range")
	}
	n := 0
	for range d.Range("") {
		if n++; n == pageOf+1 {
			break
		}
	}
	if n != pageOf+1 {
		t.Errorf("stopped after %d", n)
	}
}

// While others write, a range is in order, has every entry that was there all
// the time, and none that never was.
func TestRangeWhileCommitting(t *testing.T) {
	d := mustOpen(t, t.TempDir())
	const stay = 3 * pageOf
	var all []entry.Base
	for n := range stay {
		all = append(all, some(fmt.Sprintf("%06d/stays", n), n))
	}
	put(t, d, all...)

	stop := make(chan struct{})
	var busy sync.WaitGroup
	for w := range 3 {
		busy.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("%06d/%d", (n*7919+w)%stay, w)
				result := make(chan error, 1)
				if n%3 == 0 {
					d.Delete(key, func(err error) { result <- err })
				} else {
					d.Put(some(key, n), func(err error) { result <- err })
				}
				if err := <-result; err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer busy.Wait()
	defer close(stop)
	for range 20 {
		stayed, last := 0, ""
		for e, err := range d.Range("") {
			if err != nil {
				t.Fatal(err)
			}
			if e.Key <= last {
				t.Fatalf("%q follows %q", e.Key, last)
			}
			last = e.Key
			if strings.HasSuffix(e.Key, "/stays") {
				stayed++
			}
		}
		if stayed != stay {
			t.Fatalf("%d of %d entries that nobody touched", stayed, stay)
		}
	}
}

// Every change ends exactly once, also while the base is being closed, and what
// was acknowledged is there afterwards.
func TestCloseWhilePutting(t *testing.T) {
	for round := range 10 {
		dir := fastDir(t)
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		const writers, each = 8, 400
		var ended [writers * each]atomic.Int32 // 1: written, 2: refused, more: ended twice
		var putting sync.WaitGroup
		halfway := make(chan struct{})
		var once sync.Once
		for w := range writers {
			putting.Go(func() {
				for i := range each {
					if i == each*round/10 {
						once.Do(func() { close(halfway) })
					}
					n := w*each + i
					d.Put(some(fmt.Sprint(n), n), func(err error) {
						switch {
						case err == nil:
							ended[n].Add(1)
						case errors.Is(err, errClosed):
							ended[n].Add(2)
						default:
							t.Error(err)
						}
					})
				}
			})
		}
		<-halfway
		var closing sync.WaitGroup
		for range 2 { // twice is as good as once
			closing.Go(func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		closing.Wait()
		putting.Wait()

		d = mustOpen(t, dir)
		for n := range ended {
			e, err := d.Get(fmt.Sprint(n))
			if err != nil {
				t.Fatal(err)
			}
			if got := ended[n].Load(); got != 1 && got != 2 || (got == 1) != (e != nil) {
				t.Fatalf("round %d, put %d: ended as %d, found %v", round, n, got, e)
			}
		}
	}
}

func TestAfterClose(t *testing.T) {
	d := mustOpen(t, t.TempDir())
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	var got error
	d.Put(some("a", 1), func(err error) { got = err })
	if !errors.Is(got, errClosed) {
		t.Errorf("put: %v", got)
	}
	if _, err := d.Get("a"); err == nil {
		t.Error("get: no error")
	}
	for _, err := range d.Range("") {
		if err == nil {
			t.Error("range: no error")
		}
	}
	if err := d.SetMeta("a", "b"); err == nil {
		t.Error("set meta: no error")
	}
	if err := d.Reset(); err == nil {
		t.Error("reset: no error")
	}
}

// A change that cannot be recorded does not spoil those beside it.
func TestImpossibleKeys(t *testing.T) {
	d := mustOpen(t, t.TempDir())
	results := make(chan error, 4)
	note := func(err error) { results <- err }
	d.Put(some("", 1), note)
	d.Put(some(strings.Repeat("x", 40_000), 1), note)
	d.Delete("", note)
	put(t, d, some("good", 1), some(strings.Repeat("y", 32_768), 1))
	for range 3 {
		if err := <-results; !errors.Is(err, errKey) {
			t.Errorf("error %v", err)
		}
	}
	if d.Len() != 2 {
		t.Errorf("%d entries", d.Len())
	}
}
