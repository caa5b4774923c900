package base

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

func genTime() *rapid.Generator[entry.Time] {
	return rapid.Custom(func(t *rapid.T) entry.Time {
		return entry.Time{
			Sec:  rapid.Int64().Draw(t, "sec"),
			Nsec: rapid.Int32Range(0, 999_999_999).Draw(t, "nsec"),
		}
	})
}

func genEntry() *rapid.Generator[entry.Base] {
	etag := rapid.OneOf(
		rapid.StringMatching(`[0-9a-f]{32}`),
		rapid.StringMatching(`[0-9a-f]{32}-[0-9]{1,4}`), // multipart
		rapid.StringMatching(`[0-9A-Fa-f]{30,34}`),      // nearly an MD5
		rapid.String(),
	)
	return rapid.Custom(func(t *rapid.T) entry.Base {
		return entry.Base{
			Key: rapid.StringMatching(`[a-c]{1,3}(/[a-c]{1,3}){0,3}/?`).Draw(t, "key"),
			Local: entry.Fingerprint{
				Kind:  entry.Kind(rapid.IntRange(1, 5).Draw(t, "kind")),
				Size:  rapid.Int64().Draw(t, "size"),
				MTime: genTime().Draw(t, "mtime"),
				CTime: genTime().Draw(t, "ctime"),
				Inode: rapid.Uint64().Draw(t, "inode"),
			},
			Attrs: entry.Attrs{
				Perm:  rapid.Uint32().Draw(t, "perm"),
				UID:   rapid.Uint32().Draw(t, "uid"),
				GID:   rapid.Uint32().Draw(t, "gid"),
				MTime: genTime().Draw(t, "attr mtime"),
			},
			ETag: etag.Draw(t, "etag"),
		}
	})
}

func TestCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genEntry().Draw(t, "entry")
		got, err := decode(e.Key, encode(e))
		if err != nil {
			t.Fatal(err)
		}
		if got != e {
			t.Fatalf("came back as\n%+v, was\n%+v", got, e)
		}
	})
}

func TestCodecOfExtremes(t *testing.T) {
	for name, e := range map[string]entry.Base{
		"zero": {Key: "k"},
		"max": {
			Key: strings.Repeat("k", 4096),
			Local: entry.Fingerprint{
				Kind: math.MaxUint8, Size: math.MaxInt64, Inode: math.MaxUint64,
				MTime: entry.Time{Sec: math.MaxInt64, Nsec: 999_999_999},
				CTime: entry.Time{Sec: math.MinInt64, Nsec: 999_999_999},
			},
			Attrs: entry.Attrs{Perm: math.MaxUint32, UID: math.MaxUint32, GID: math.MaxUint32},
			ETag:  strings.Repeat("e", 1000),
		},
	} {
		got, err := decode(e.Key, encode(e))
		if err != nil || got != e {
			t.Errorf("%s: came back as %+v, %v", name, got, err)
		}
	}
}

// An MD5 takes 16 bytes, not 32.
func TestRecordSize(t *testing.T) {
	now := entry.Time{Sec: 1_790_000_000, Nsec: 123_456_789}
	e := entry.Base{
		Key:   "some/file",
		Local: entry.Fingerprint{Kind: entry.File, Size: 4096, MTime: now, CTime: now, Inode: 1 << 22},
		Attrs: entry.Attrs{Perm: 0o644, UID: 1000, GID: 1000, MTime: now},
		ETag:  "d41d8cd98f00b204e9800998ecf8427e",
	}
	if n := len(encode(e)); n > 70 {
		t.Errorf("a common record takes %d bytes, at most 70 expected", n)
	}
}

// No flip of a single bit goes unnoticed, in the record or in the key.
func TestFlippedBits(t *testing.T) {
	e := entry.Base{Key: "a/b", ETag: "d41d8cd98f00b204e9800998ecf8427e", Local: entry.Fingerprint{Kind: entry.File, Size: 1}}
	record := encode(e)
	for i := range record {
		for bit := range 8 {
			b := append([]byte(nil), record...)
			b[i] ^= 1 << bit
			if _, err := decode(e.Key, b); err == nil {
				t.Errorf("byte %d, bit %d of the record: not noticed", i, bit)
			}
		}
	}
	for i := range e.Key {
		for bit := range 8 {
			k := []byte(e.Key)
			k[i] ^= 1 << bit
			if _, err := decode(string(k), record); err == nil {
				t.Errorf("byte %d, bit %d of the key: not noticed", i, bit)
			}
		}
	}
	for n := range record {
		if _, err := decode(e.Key, record[:n]); err == nil {
			t.Errorf("cut to %d bytes: not noticed", n)
		}
	}
}

// FuzzDecode lets the checksum pass, so that what is behind it is reached.
func FuzzDecode(f *testing.F) {
	f.Add("a/b", encode(entry.Base{Key: "a/b", ETag: "x"})[recordHead:], true)
	f.Add("", []byte{}, false)
	f.Add("k", []byte{1, 2, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, true)
	f.Fuzz(func(t *testing.T, key string, tail []byte, md5 bool) {
		if _, err := decode(key, tail); err == nil && len(tail) < recordHead {
			t.Error("a record shorter than its head was taken")
		}
		record := append(make([]byte, recordHead), tail...)
		record[0] = recordText
		if md5 {
			record[0] = recordMD5
		}
		sum := checksum(key, record)
		record[1], record[2], record[3], record[4] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		e, err := decode(key, record)
		if err != nil {
			return
		}
		again, err := decode(key, encode(e))
		if err != nil || again != e {
			t.Errorf("%+v came back as %+v, %v", e, again, err)
		}
	})
}
