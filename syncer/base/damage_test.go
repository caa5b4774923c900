package base

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// sample returns the bytes of a base that has seen some life, and what is in it.
func sample(t testing.TB, n int) ([]byte, map[string]entry.Base) {
	t.Helper()
	dir := fastDir(t)
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]entry.Base{}
	for round := range 3 {
		var list []entry.Base
		for i := range n {
			e := some(fmt.Sprintf("folder-%d/file-%d", i%17, i), i*10+round)
			list = append(list, e)
			content[e.Key] = e
		}
		put(t, d, list...)
		var gone []string
		for i := round; i < n; i += 5 {
			key := fmt.Sprintf("folder-%d/file-%d", i%17, i)
			gone = append(gone, key)
			delete(content, key)
		}
		drop(t, d, gone...)
	}
	for _, name := range []string{"identity", "volume", "restored"} {
		if err := d.SetMeta(name, "value of "+name); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return b, content
}

// survive opens a base whose file is b. Whatever b is, the base can be used
// afterwards, and what it says is a record that was once written; it returns
// whether b was put aside.
func survive(t testing.TB, dir string, b []byte, content map[string]entry.Base) (aside bool) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, fileName), b, 0o600); err != nil {
		t.Fatal(err)
	}
	for opening := range 2 {
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if d.PutAside != "" {
			if opening > 0 {
				t.Fatal("put aside twice")
			}
			aside = true
			kept, err := os.ReadFile(d.PutAside)
			if err != nil || !bytes.Equal(kept, b) {
				t.Fatalf("what was put aside is not what was there: %v", err)
			}
			if opening == 0 && d.Len() != 0 {
				t.Fatalf("%d entries in a new base", d.Len())
			}
		}
		n := int64(0)
		for e, err := range d.Range("") {
			if err != nil {
				t.Fatal(err)
			}
			if want, ok := content[e.Key]; content != nil && e.Key[0] != '~' && (!ok || e != want) {
				t.Fatalf("made up: %+v, was %+v", e, want)
			}
			n++
		}
		if n != d.Len() {
			t.Fatalf("%d entries, Len says %d", n, d.Len())
		}
		// Enough changes to make bbolt split, merge and reuse pages.
		var list []entry.Base
		var keys []string
		for i := range 300 {
			e := some(fmt.Sprintf("~%d-%04d", opening, i), i)
			list, keys = append(list, e), append(keys, e.Key)
		}
		put(t, d, list...)
		drop(t, d, keys[:250]...)
		if err := d.SetMeta("name", "value"); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return aside
}

func TestDamage(t *testing.T) {
	good, content := sample(t, 2000)
	page := os.Getpagesize()
	pages := len(good) / page
	random := rand.New(rand.NewPCG(20261123, 1))
	garbage := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	change := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	// anyPage returns a page that is or was in use, and is no meta page.
	anyPage := func(b []byte) []byte {
		for {
			i := 2 + random.IntN(pages-2)
			if p := b[i*page:][:page]; !bytes.Equal(p, make([]byte, page)) {
				return p
			}
		}
	}

	for _, c := range []struct {
		name  string
		file  []byte
		aside bool
	}{
		{"as it was", good, false},
		{"no bytes", nil, false},
		{"one byte", []byte{1}, true},
		{"text", []byte("this is not a base"), true},
		{"less than a page", garbage(page - 1), true},
		{"a page of nothing", make([]byte, page), true},
		{"garbage", garbage(1 << 20), true},
		{"nothing but zeros", make([]byte, len(good)), true},
		{"the first page alone", good[:page], true},
		{"both meta pages alone", good[:2*page], true},
		{"half of what is in use", good[:len(bytes.TrimRight(good, "\x00"))/2], true},
		{"both meta pages garbage", change(func(b []byte) { copy(b, garbage(2*page)) }), true},
		{"first meta page garbage", change(func(b []byte) { copy(b, garbage(page)) }), false},
		{"second meta page garbage", change(func(b []byte) { copy(b[page:], garbage(page)) }), false},
		{"meta pages swapped", change(func(b []byte) {
			first := bytes.Clone(b[:page])
			copy(b, b[page:2*page])
			copy(b[page:], first)
		}), false},
		{"another format version", change(func(b []byte) { b[headerSize+4]++; b[page+headerSize+4]++ }), true},
		{"bytes appended", append(bytes.Clone(good), garbage(777)...), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if aside := survive(t, fastDir(t), c.file, content); aside != c.aside {
				t.Errorf("put aside: %v, want %v", aside, c.aside)
			}
		})
	}

	// What a disk that lies, or fails, may leave.
	for name, spoil := range map[string]func(b []byte) []byte{
		"truncated":     func(b []byte) []byte { return b[:random.IntN(len(b))] },
		"page lost":     func(b []byte) []byte { clear(anyPage(b)); return b },
		"page garbage":  func(b []byte) []byte { copy(anyPage(b), garbage(page)); return b },
		"page torn":     func(b []byte) []byte { clear(anyPage(b)[512*random.IntN(page/512):]); return b },
		"page misplace": func(b []byte) []byte { copy(anyPage(b), bytes.Clone(anyPage(b))); return b },
		"page header":   func(b []byte) []byte { anyPage(b)[random.IntN(headerSize)] ^= byte(1 + random.IntN(255)); return b },
		"elements": func(b []byte) []byte {
			p := anyPage(b)
			for range 1 + random.IntN(4) {
				p[headerSize+random.IntN(elementSize*8)] = byte(random.IntN(256))
			}
			return b
		},
		"bit flips": func(b []byte) []byte {
			for range 1 + random.IntN(64) {
				b[random.IntN(len(b))] ^= 1 << random.IntN(8)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			const times = 20
			asides := 0
			dir := fastDir(t)
			for range times {
				if survive(t, dir, spoil(bytes.Clone(good)), content) {
					asides++
				}
				os.Remove(filepath.Join(dir, fileName))
			}
			t.Logf("%d of %d were put aside, the others did no harm", asides, times)
			if asides == 0 {
				t.Error("no damage was found")
			}
		})
	}
}

// FuzzDamage changes bytes of a small base: four bytes of input are a position
// and a value.
func FuzzDamage(f *testing.F) {
	good, content := sample(f, 150)
	for i := range good {
		if good[i] != 0 && i%149 == 0 {
			f.Add([]byte{byte(i >> 16), byte(i >> 8), byte(i), good[i] ^ 0xff}, uint32(len(good)))
		}
	}
	f.Add([]byte{}, uint32(0))
	f.Add([]byte{}, uint32(5000))
	f.Fuzz(func(t *testing.T, changes []byte, size uint32) {
		b := bytes.Clone(good)
		for ; len(changes) >= 4; changes = changes[4:] {
			b[(int(changes[0])<<16|int(changes[1])<<8|int(changes[2]))%len(b)] = changes[3]
		}
		survive(t, fastDir(t), b[:min(int(size), len(b))], content)
	})
}

// Another program's bbolt file, or one in which our bucket is a plain value,
// is no base of ours.
func TestForeignFile(t *testing.T) {
	dir := t.TempDir()
	db, err := bolt.Open(filepath.Join(dir, fileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(entriesBucket)
		if err != nil {
			return err
		}
		_, err = b.CreateBucket([]byte("a bucket where a record should be"))
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if d := mustOpen(t, dir); d.PutAside == "" || d.Len() != 0 {
		t.Errorf("put aside %q, %d entries", d.PutAside, d.Len())
	}
}

// What cannot be opened for another reason stays where it is.
func TestOpenErrors(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, fileName), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, intentsName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("a directory was opened as a base")
	}
	if _, err := os.Stat(filepath.Join(dir, fileName+".damaged")); err == nil {
		t.Error("a directory was put aside")
	}
	// Nothing is left open by what failed: not the lock, not the list of the
	// uploads that were begun.
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, dir+"/") {
			t.Errorf("left open: %s", target)
		}
	}
}
