package storetest

import (
	"bytes"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// grain is longer than that of every store's times.
const grain = 1100 * time.Millisecond

// testPast: what a bucket was at a moment can be listed and read, whatever has
// happened since.
func testPast(t *testing.T, s *Subject) {
	if !s.Can.Versioning {
		_, err := s.Store.At(t.Context(), time.Now())
		wantError(t, "At", err, store.ErrNoVersions)
		return
	}
	put := func(key string, content []byte, mode string) store.Object {
		u := upload(key, content)
		u.Metadata = map[string]string{"mode": mode}
		return mustUpload(t, s.Store, u)
	}
	moment := func() time.Time {
		time.Sleep(grain)
		now := time.Now()
		time.Sleep(grain)
		return now
	}
	before := moment()
	small, large := []byte("first"), noise(1, 2*s.Part+1)
	put("p/changed", []byte("zeroth"), "0100600") // not even of that moment
	put("p/changed", small, "0100600")
	put("p/deleted", small, "0100600")
	put("p/kept", small, "0100600")
	put("p/large", large, "0100600")
	put("p/touched", small, "0100600")
	put("p/gone", small, "0100600")
	if err := s.Store.Delete(t.Context(), "p/gone", ""); err != nil {
		t.Fatal(err)
	}
	then := moment()
	put("p/changed", []byte("second!"), "0100600")
	put("p/large", noise(2, s.Part), "0100600")
	put("p/new", small, "0100600")
	put("p/touched", small, "0100755")
	put("p/gone", []byte("again"), "0100600")
	if err := s.Store.Delete(t.Context(), "p/deleted", ""); err != nil {
		t.Fatal(err)
	}
	now := moment()
	if s.NoPast {
		past, err := s.Store.At(t.Context(), then)
		if err != nil {
			t.Fatal(err)
		}
		for _, err = range past.List(t.Context(), "p/") {
		}
		wantError(t, "List of versions that are out of order", err, store.ErrNoVersions)
		return
	}

	for _, c := range []struct {
		name string
		at   time.Time
		want map[string][]byte
		mode string // of p/touched
	}{
		{"before", before, map[string][]byte{}, ""},
		{"then", then, map[string][]byte{
			"p/changed": small, "p/deleted": small, "p/kept": small, "p/large": large, "p/touched": small,
		}, "0100600"},
		{"now", now, map[string][]byte{
			"p/changed": []byte("second!"), "p/gone": []byte("again"), "p/kept": small,
			"p/large": noise(2, s.Part), "p/new": small, "p/touched": small,
		}, "0100755"},
	} {
		t.Run(c.name, func(t *testing.T) {
			past, err := s.Store.At(t.Context(), c.at)
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			for o, err := range past.List(t.Context(), "p/") {
				if err != nil {
					t.Fatal(err)
				}
				want, ok := c.want[o.Key]
				if !ok || o.Size != int64(len(want)) {
					t.Errorf("List shows %+v", o)
					continue
				}
				seen++
				m := newMemory(o.Size)
				got, err := past.Download(t.Context(), o.Key, o.ETag, o.Size, m)
				if err != nil || !bytes.Equal(m.content, want) || got.ETag != o.ETag {
					t.Errorf("Download(%s) of %s: %+v, %v, or other content", o.Key, o.ETag, got, err)
				}
				if stat, err := past.Stat(t.Context(), o.Key); err != nil || stat.ETag != o.ETag || stat.Metadata["mode"] != got.Metadata["mode"] {
					t.Errorf("Stat(%s) = %+v, %v", o.Key, stat, err)
				}
				if o.Key == "p/touched" && got.Metadata["mode"] != c.mode {
					t.Errorf("Download(%s): mode %s, want %s", o.Key, got.Metadata["mode"], c.mode)
				}
				if o.Size < 100 {
					if b, r, err := past.Read(t.Context(), o.Key); err != nil || !bytes.Equal(b, want) || r.ETag != o.ETag {
						t.Errorf("Read(%s) = %q, %+v, %v", o.Key, b, r, err)
					}
				}
			}
			if seen != len(c.want) {
				t.Errorf("List shows %d of %d", seen, len(c.want))
			}
			for _, key := range []string{"p/changed", "p/deleted", "p/gone", "p/new", "p/never"} {
				if _, ok := c.want[key]; !ok {
					_, err := past.Stat(t.Context(), key)
					wantError(t, "Stat("+key+")", err, store.ErrNotFound)
				}
			}
		})
	}

	// What is in step now is told from what is equal.
	tags := func(at time.Time) map[string]string {
		past, err := s.Store.At(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for o, err := range past.List(t.Context(), "p/") {
			if err != nil {
				t.Fatal(err)
			}
			found[o.Key] = o.ETag
		}
		return found
	}
	was, is := tags(then), tags(now)
	if was["p/kept"] != is["p/kept"] || was["p/touched"] == is["p/touched"] {
		t.Errorf("ETags of then %v, of now %v", was, is)
	}
	for key, etag := range is {
		o, err := s.Store.Stat(t.Context(), key)
		if plain, _ := store.SplitETag(etag); err != nil || plain != o.ETag {
			t.Errorf("%s: %q now has ETag %q, %v", key, etag, o.ETag, err)
		}
	}
}
