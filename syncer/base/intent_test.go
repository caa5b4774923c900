package base

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

func about(key string, size int64) entry.Base {
	return entry.Base{Key: key, Local: entry.Fingerprint{Kind: entry.File, Size: size}, Attrs: entry.Attrs{Perm: 0o644}}
}

func reopen(t *testing.T, d *DB, dir string) *DB {
	t.Helper()
	if d != nil {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func sizes(list []Intent) (found []int64) {
	for _, i := range list {
		found = append(found, i.Entry.Local.Size)
	}
	return found
}

func TestIntents(t *testing.T) {
	dir := t.TempDir()
	d := reopen(t, nil, dir)
	begin := func(key string, size int64) Intent { return d.Begin(about(key, size)) }
	begin("a", 1)
	torn := begin("a", 2)
	begin("a", 3)
	begin("b", 4)
	begin("odd\nname\xff", 5)
	d.Undone(torn)
	d.Settled("b")
	for range 3 {
		if got := sizes(d.Intents("a")); !slices.Equal(got, []int64{1, 3}) {
			t.Errorf("uploads of a: %v", got)
		}
		if got := d.IntentKeys(); !slices.Equal(got, []string{"a", "odd\nname\xff"}) {
			t.Errorf("keys: %q", got)
		}
		d = reopen(t, d, dir)
	}
	begin("a", 6)
	d.Undone(torn) // of a process that is no more: its number may have been given again
	if err := d.Reset(); err != nil {
		t.Fatal(err)
	}
	d = reopen(t, d, dir)
	if got := d.IntentKeys(); len(got) > 0 {
		t.Errorf("after a reset: %q", got)
	}
}

// What was written before a torn end is kept, whatever the end is.
func TestIntentsTorn(t *testing.T) {
	dir := t.TempDir()
	d := reopen(t, nil, dir)
	for _, key := range []string{"a", "b", "c"} {
		d.Begin(about(key, 1))
	}
	d.Close()
	name := filepath.Join(dir, intentsName)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	line := len(whole) / 3
	for n := 2 * line; n < len(whole); n++ {
		if err := os.WriteFile(name, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := loadIntents(dir, intentsName)
		if err != nil || len(l.open) != 2 {
			t.Fatalf("of %d bytes %d are left: %v, %v", len(whole), n, l.open, err)
		}
		l.close()
	}
}

// The file stays small, however many uploads there are.
func TestIntentsSize(t *testing.T) {
	l, err := loadIntents(t.TempDir(), intentsName)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.begin(about("left", 7))
	for n := range int64(40_000) {
		l.begin(about("some/longer/name/of/a/file", n))
		l.end("some/longer/name/of/a/file", func(Intent) bool { return true })
	}
	if info, err := os.Stat(l.name); err != nil || info.Size() > 2*intentsMax {
		t.Errorf("%d bytes: %v", info.Size(), err)
	}
	again, err := loadIntents(filepath.Dir(l.name), intentsName)
	if err != nil || len(again.open) != 1 || len(again.of("left")) != 1 {
		t.Errorf("left: %v, %v", again.open, err)
	}
	again.close()
}

// The same upload once more is the same line; and of one key, not every state
// that it ever had is remembered.
func TestIntentsRepeated(t *testing.T) {
	dir := t.TempDir()
	d := reopen(t, nil, dir)
	begin := func(size int64) Intent { return d.Begin(about("a", size)) }
	first := begin(1)
	again := begin(1)
	if got := d.Intents("a"); len(got) != 1 || got[0].At.Before(again.At) {
		t.Errorf("the same twice: %v; the second began at %v", got, again.At)
	}
	// That the second did not happen says nothing of the first.
	d.Undone(again)
	if got := sizes(d.Intents("a")); !slices.Equal(got, []int64{1}) {
		t.Errorf("after the second was undone: %v", got)
	}
	d.Undone(first)
	if got := sizes(d.Intents("a")); len(got) > 0 {
		t.Errorf("after both were undone: %v", got)
	}
	for n := range int64(10_000) {
		begin(n)
	}
	for range 2 {
		got := sizes(d.Intents("a"))
		if len(got) != intentsEach || got[len(got)-1] != 9_999 {
			t.Errorf("%d are remembered, the last is %v", len(got), got[len(got)-1])
		}
		d = reopen(t, d, dir)
	}
}

// Any file is read without a fault.
func FuzzIntents(f *testing.F) {
	f.Add(beginLine(Intent{Entry: about("a", 1), id: 1}))
	f.Add(slices.Concat(beginLine(Intent{Entry: about("a", 1), id: 9}), endLine(9)))
	f.Fuzz(func(t *testing.T, text []byte) {
		for {
			_, rest, ok := cutLine(text)
			if !ok {
				return
			}
			if len(rest) >= len(text) {
				t.Fatal("no progress")
			}
			text = rest
		}
	})
}

// Whatever is begun and crossed out, with kills in between, the file tells
// what is open.
func TestIntentsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "intents-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		l, err := loadIntents(dir, intentsName)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]int64{}
		for n := range rapid.Int64Range(1, 40).Draw(t, "steps") {
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				l.begin(about(key, n))
				want[key] = append(want[key], n)
			case 2:
				if len(want[key]) > 0 {
					last := want[key][len(want[key])-1]
					l.end(key, func(i Intent) bool { return i.Entry.Local.Size == last })
					want[key] = want[key][:len(want[key])-1]
				}
			case 3: // killed: nothing is closed in order
				if l, err = loadIntents(dir, intentsName); err != nil {
					t.Fatal(err)
				}
			}
			for _, k := range []string{"a", "b", "c"} {
				if got := sizes(l.of(k)); !slices.Equal(got, want[k]) {
					t.Fatalf("%s: %v, want %v", k, got, want[k])
				}
			}
		}
	})
}
