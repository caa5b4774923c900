package entry_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

func TestTime(t *testing.T) {
	for _, at := range []time.Time{
		time.Unix(0, 0),
		time.Unix(0, 1),
		time.Unix(-1, 999_999_999),
		time.Date(1901, 12, 13, 20, 45, 52, 1, time.UTC), // the first of 32 bits
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),    // the first past 32 bits
		time.Date(2262, 4, 12, 0, 0, 0, 5, time.UTC),     // past UnixNano
		time.Date(2446, 5, 10, 22, 38, 55, 0, time.UTC),  // the last of ext4
		time.Now(),
	} {
		e := entry.TimeOf(at)
		if e.Nsec < 0 || e.Nsec >= 1e9 {
			t.Errorf("%s: nanoseconds %d", at, e.Nsec)
		}
		if !e.Std().Equal(at) || entry.TimeOf(e.Std()) != e {
			t.Errorf("%s came back as %s", at, e.Std())
		}
	}
}

// Over the whole range the order is that of time, and the way there and back
// loses nothing.
func TestTimeOrder(t *testing.T) {
	gen := rapid.Custom(func(t *rapid.T) entry.Time {
		return entry.Time{
			Sec:  rapid.Int64Range(math.MinInt64/2, math.MaxInt64/2).Draw(t, "sec"),
			Nsec: rapid.Int32Range(0, 999_999_999).Draw(t, "nsec"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		if rapid.Bool().Draw(t, "same second") {
			b.Sec = a.Sec
		}
		if entry.TimeOf(a.Std()) != a {
			t.Fatalf("%v came back as %v", a, entry.TimeOf(a.Std()))
		}
		if a.Before(b) != a.Std().Before(b.Std()) {
			t.Fatalf("%v before %v: %v", a, b, a.Before(b))
		}
		if a.Before(b) && b.Before(a) || a != b && !a.Before(b) && !b.Before(a) {
			t.Fatal("no order")
		}
	})
}

func TestKeys(t *testing.T) {
	for key, want := range map[string]struct {
		path string
		dir  bool
	}{
		"a":    {"a", false},
		"a/":   {"a", true},
		"a/b":  {"a/b", false},
		"a/b/": {"a/b", true},
		"":     {"", false},
	} {
		if entry.Path(key) != want.path || entry.IsDir(key) != want.dir {
			t.Errorf("%q: path %q, folder %v", key, entry.Path(key), entry.IsDir(key))
		}
	}
}

func TestSameDir(t *testing.T) {
	a := entry.Attrs{Perm: 0o755, UID: 1, GID: 2, MTime: entry.Time{Sec: 3}}
	for name, c := range map[string]struct {
		change func(*entry.Attrs)
		want   bool
	}{
		"nothing": {func(*entry.Attrs) {}, true},
		"mtime":   {func(a *entry.Attrs) { a.MTime.Nsec++ }, true},
		"perm":    {func(a *entry.Attrs) { a.Perm |= 0o1000 }, false},
		"uid":     {func(a *entry.Attrs) { a.UID++ }, false},
		"gid":     {func(a *entry.Attrs) { a.GID++ }, false},
	} {
		b := a
		c.change(&b)
		if a.SameDir(b) != c.want || b.SameDir(a) != c.want {
			t.Errorf("%s changed: same %v", name, a.SameDir(b))
		}
	}
}

func TestKindString(t *testing.T) {
	seen := map[string]bool{"unknown": true}
	for k := entry.File; k <= entry.Opaque; k++ {
		if seen[k.String()] {
			t.Errorf("kind %d is called %q", k, k)
		}
		seen[k.String()] = true
	}
	if entry.Kind(0).String() != "unknown" || entry.Kind(200).String() != "unknown" {
		t.Error("an unknown kind has a name")
	}
}
