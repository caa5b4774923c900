package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// Names are file names that Linux allows and that break something somewhere.
func Names() []string {
	names := []string{
		"plain", "with space", " leading space", "trailing space ", "trailing dot.", ".hidden", "-rf", "--", "~", "#",
		"new\nline", "carriage\rreturn", "tab\there", "bell\x07", "escape\x1b[31m", "delete\x7f", "unit\x1fseparator",
		`back\slash`, `\`, `"double"`, `'single'`, "`tick`", "100%", "%41", "%2F", "%2f%2E%2e", "%", "%zz", "a+b", "a b+c%20d",
		"question?", "?versionId=1", "am&per", "semi;colon", "colon:", "star*", "pipe|", "<less", "more>", "comma,", "equals=",
		"at@", "bang!", "dollar$", "caret^", "(round)", "[square]", "{curly}", "null", "con", "nul.txt", "index.html",
		"caf\u00e9 NFC", "cafe\u0301 NFD", "\u00fc", "u\u0308", "日本語", "العربية", "emoji \U0001F600", "zero\u200bwidth",
		"\ufeffbom", "\u202eoverride", "\ufffd", "\U0010ffff", "\u201breversed", "part.1", "xl.meta", "__XLDIR__", ".minio.sys",
		strings.Repeat("x", 255), strings.Repeat("é", 127), "...", "..a", "a..", "....",
		". ", " ..", `..\up`,
	}
	// Every single byte that may stand in a name.
	for c := byte(1); c < 0x80; c++ {
		if c != '/' && c != '.' {
			names = append(names, string([]byte{c}), "mid"+string([]byte{c})+"dle")
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// testNames: every name round-trips, or is refused as one that the store will
// never take.
func testNames(t *testing.T, s *Subject) {
	refused := make(map[string]bool)
	want := map[string]bool{}
	for _, name := range s.Refuses {
		want[name] = true
	}
	// A store that keeps objects as files makes the folder once, here: rclone
	// now and then answers 500 to all but one of those who make it at once.
	if _, err := s.Store.Upload(t.Context(), upload("p/first", nil)); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	kept := []string{"p/first"}
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(16)
	for _, name := range Names() {
		g.Go(func() error {
			key := "p/" + name
			u := upload(key, []byte(name))
			u.Metadata = map[string]string{"mode": "0100600"}
			o, err := s.Store.Upload(ctx, u)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused[name] = true
				if !want[name] {
					t.Errorf("Upload(%q): %v", key, err)
				} else {
					wantError(t, fmt.Sprintf("Upload(%q)", key), err, store.ErrKeyRejected)
				}
				return nil
			}
			kept = append(kept, key)
			if want[name] {
				t.Errorf("%q is said to be refused, but was taken", name)
			}
			got, stat, err := s.Store.Read(ctx, key)
			if err != nil || string(got) != name || stat.ETag != o.ETag || stat.Metadata["mode"] != "0100600" {
				t.Errorf("Read(%q) = %q, %+v, %v", key, got, stat, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(kept)
	wantKeys(t, list(t, s.Store, "p/"), kept...)
	for _, key := range kept {
		if err := s.Store.Delete(t.Context(), key, ""); err != nil {
			t.Errorf("Delete(%q): %v", key, err)
		}
	}
	wantKeys(t, list(t, s.Store, ""))

	// Names that no S3 store takes.
	for _, key := range []string{"p/not utf-8 \xff", "p/" + strings.Repeat("long/", 300)} {
		_, err := s.Store.Upload(t.Context(), upload(key, nil))
		wantError(t, fmt.Sprintf("Upload(%.40q)", key), err, store.ErrKeyRejected)
		_, err = s.Store.Stat(t.Context(), key)
		wantError(t, fmt.Sprintf("Stat(%.40q)", key), err, store.ErrKeyRejected)
	}
}

// wantKeys compares a listing.
func wantKeys(t testing.TB, got []store.Object, want ...string) {
	t.Helper()
	var keys []string
	for _, o := range got {
		keys = append(keys, o.Key)
	}
	if slices.Equal(keys, want) {
		return
	}
	if len(want) < 20 {
		t.Errorf("List = %q, want %q", keys, want)
		return
	}
	seen, wanted := map[string]bool{}, map[string]bool{}
	for _, key := range keys {
		seen[key] = true
	}
	for _, key := range want {
		wanted[key] = true
		if !seen[key] {
			t.Errorf("List does not have %q", key)
		}
	}
	for _, key := range keys {
		if !wanted[key] {
			t.Errorf("List has %q, which nobody wrote", key)
		}
	}
	if maps.Equal(seen, wanted) {
		t.Error("List is complete, but not in byte order or not without repetition")
	}
}

// testListInOrder: several pages, in byte order, with all that was put in.
func testListInOrder(t *testing.T, s *Subject) {
	refuses := map[string]bool{}
	for _, name := range s.Refuses {
		refuses[name] = true
	}
	var names []string
	for _, name := range Names() {
		if !refuses[name] && len(name) < 200 {
			names = append(names, name)
		}
	}
	const total = 2500
	var keys []string
	for i := range total {
		keys = append(keys, fmt.Sprintf("list/%s/%d%s", names[(i*7)%len(names)], i, names[i%len(names)]))
	}
	fill(t, s, total, func(i int) store.Upload {
		return upload(keys[i], noise(uint64(i), int64(i%7)))
	})
	mustUpload(t, s.Store, upload("lisa", nil))
	mustUpload(t, s.Store, upload("list-not-below", nil))
	mustUpload(t, s.Store, upload("lisu", nil))

	byKey := map[string]int{}
	for i, key := range keys {
		byKey[key] = i
	}
	got := list(t, s.Store, "list/")
	slices.Sort(keys)
	wantKeys(t, got, keys...)
	for _, o := range got {
		i := byKey[o.Key]
		if o.Size != int64(i%7) || o.ETag == "" || o.LastModified.IsZero() {
			t.Errorf("List: %+v, want %d bytes", o, i%7)
		}
	}
	// A prefix is a string, not a folder.
	wantKeys(t, list(t, s.Store, "lis")[:1], "lisa")
	wantKeys(t, list(t, s.Store, "list-"), "list-not-below")
	if n := len(list(t, s.Store, "")); n != total+3 {
		t.Errorf("List of the bucket has %d objects, want %d", n, total+3)
	}
	wantKeys(t, list(t, s.Store, "nothing/"))

	// Stopping in the middle, then starting anew.
	n := 0
	for _, err := range s.Store.List(t.Context(), "list/") {
		if n++; err != nil || n == 1500 {
			break
		}
	}
	if n != 1500 {
		t.Errorf("stopped after %d objects, want 1500", n)
	}
}

// testListEnds: a listing that did not reach its end says so.
func testListEnds(t *testing.T, s *Subject) {
	const total = 1100 // more than a page
	fill(t, s, total, func(i int) store.Upload { return upload(fmt.Sprintf("p/%04d", i), nil) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen int
	var last error
	for _, err := range s.Store.List(ctx, "p/") {
		if last != nil {
			t.Fatal("yielded something after an error")
		}
		if last = err; err == nil {
			seen++
		}
		if seen == 10 {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) || seen >= total {
		t.Errorf("a listing that was canceled after 10 of %d objects gave %d and ended with %v", total, seen, last)
	}
}

// fill uploads many small objects. As every caller must, it repeats what the
// store calls worth repeating: rclone answers 500 when two uploads make one
// folder at the same time.
func fill(t *testing.T, s *Subject, n int, object func(i int) store.Upload) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(32)
	for i := range n {
		g.Go(func() (err error) {
			for range 5 {
				_, err = s.Store.Upload(ctx, object(i))
				if !errors.Is(err, store.ErrUnreachable) {
					break
				}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}
