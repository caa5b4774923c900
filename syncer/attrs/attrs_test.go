package attrs

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

var fallback = Defaults{UID: 7, GID: 8, MTime: entry.Time{Sec: 99}}

func TestEncode(t *testing.T) {
	tests := []struct {
		kind  entry.Kind
		a     entry.Attrs
		mode  string
		mtime string
	}{
		{entry.File, entry.Attrs{Perm: 0o644, MTime: entry.Time{Sec: 1700000000, Nsec: 123456789}}, "0100644", "1700000000.123456789"},
		{entry.File, entry.Attrs{Perm: 0o4755, MTime: entry.Time{Sec: 1700000000, Nsec: 500000000}}, "0104755", "1700000000.500000000"},
		{entry.File, entry.Attrs{Perm: 0}, "0100000", "0"},
		{entry.Dir, entry.Attrs{Perm: 0o1777, MTime: entry.Time{Sec: 5, Nsec: 1}}, "041777", "5.000000001"},
		{entry.Symlink, entry.Attrs{Perm: 0o777, MTime: entry.Time{Sec: -1, Nsec: 500000000}}, "0120777", "-0.500000000"},
		{entry.File, entry.Attrs{Perm: 0o600, MTime: entry.Time{Sec: -2, Nsec: 999999999}}, "0100600", "-1.000000001"},
		{entry.File, entry.Attrs{Perm: 0o600, MTime: entry.Time{Sec: -2}}, "0100600", "-2"},
		{entry.File, entry.Attrs{Perm: 0o600, MTime: entry.Time{Sec: 1 << 33}}, "0100600", "8589934592"},
	}
	for _, tt := range tests {
		tt.a.UID, tt.a.GID = 1000, math.MaxUint32-1
		want := map[string]string{"mode": tt.mode, "mtime": tt.mtime, "uid": "1000", "gid": "4294967294"}
		if got := Encode(tt.kind, tt.a); !maps.Equal(got, want) {
			t.Errorf("%v %+v: got %v, want %v", tt.kind, tt.a, got, want)
		}
	}
}

func TestDecode(t *testing.T) {
	attrs := func(perm, uid, gid uint32, sec int64, nsec int32) entry.Attrs {
		return entry.Attrs{Perm: perm, UID: uid, GID: gid, MTime: entry.Time{Sec: sec, Nsec: nsec}}
	}
	tests := []struct {
		name string
		meta map[string]string
		kind entry.Kind
		want entry.Attrs
	}{
		{"nothing", nil, entry.File, attrs(0o644, 7, 8, 99, 0)},
		{"ours", map[string]string{"mode": "0100600", "uid": "1", "gid": "2", "mtime": "3.000000004"}, entry.File, attrs(0o600, 1, 2, 3, 4)},
		{"rclone -M", map[string]string{"mode": "100640", "uid": "1000", "gid": "1000", "mtime": "1700000000.5", "btime": "2023-11-14T22:13:20Z", "atime": "2023-11-14T22:13:20Z"},
			entry.File, attrs(0o640, 1000, 1000, 1700000000, 500000000)},
		{"rclone before 1970", map[string]string{"mtime": "-0.5"}, entry.File, attrs(0o644, 7, 8, -1, 500000000)},
		{"s3fs file", map[string]string{"mode": "33188", "uid": "5", "gid": "6", "mtime": "1700000000.000000005", "atime": "1", "ctime": "2"}, entry.File, attrs(0o644, 5, 6, 1700000000, 5)},
		{"s3fs link", map[string]string{"mode": "41471"}, entry.Symlink, attrs(0o777, 7, 8, 99, 0)},
		{"our link", map[string]string{"mode": "0120777"}, entry.Symlink, attrs(0o777, 7, 8, 99, 0)},
		{"setuid", map[string]string{"mode": "104755"}, entry.File, attrs(0o4755, 7, 8, 99, 0)},
		{"mode without a type", map[string]string{"mode": "0750"}, entry.File, attrs(0o750, 7, 8, 99, 0)},
		{"mode of a folder where none is", map[string]string{"mode": "40700"}, entry.File, attrs(0o644, 7, 8, 99, 0)},
		{"mode of a FIFO", map[string]string{"mode": "010644"}, entry.File, attrs(0o644, 7, 8, 99, 0)},
		{"RFC 3339", map[string]string{"mtime": "2001-09-09T01:46:40.25Z"}, entry.File, attrs(0o644, 7, 8, 1e9, 250000000)},
		{"too many decimals", map[string]string{"mtime": "1.0000000019"}, entry.File, attrs(0o644, 7, 8, 1, 1)},
		{"mc", map[string]string{"mc-attrs": "atime:1600000000#1/gid:3/gname:users/mode:33261/mtime:1700000000#123456789/uid:2/uname:me"}, entry.File, attrs(0o755, 2, 3, 1700000000, 123456789)},
		{"mc before 1970", map[string]string{"mc-attrs": "mtime:-1#500000000"}, entry.File, attrs(0o644, 7, 8, -1, 500000000)},
		{"s3cmd", map[string]string{"s3cmd-attrs": "atime:1/ctime:1/gid:3/gname:g/md5:d41d8cd98f00b204e9800998ecf8427e/mode:33152/mtime:1700000000/uid:2/uname:u"}, entry.File, attrs(0o600, 2, 3, 1700000000, 0)},
		{"ours before mc's", map[string]string{"mc-attrs": "mode:33261/uid:2/gid:3/mtime:5", "mode": "0100600", "mtime": "6"}, entry.File, attrs(0o600, 2, 3, 6, 0)},
		{"garbage", map[string]string{"mode": "rw-r--r--", "uid": "-1", "gid": "1e3", "mtime": "yesterday", "mc-attrs": "///:/mode/uid:x/mtime:#"}, entry.File, attrs(0o644, 7, 8, 99, 0)},
		{"ids that mean nothing", map[string]string{"uid": "4294967295", "gid": "4294967296"}, entry.File, attrs(0o644, 7, 8, 99, 0)},
		{"times that mean nothing", map[string]string{"mtime": "1.2.3"}, entry.File, attrs(0o644, 7, 8, 99, 0)},
		{"time with a sign in its fraction", map[string]string{"mtime": "1.-5"}, entry.File, attrs(0o644, 7, 8, 99, 0)},
		{"endless number", map[string]string{"mode": strings.Repeat("7", 100), "mtime": strings.Repeat("9", 100)}, entry.File, attrs(0o644, 7, 8, 99, 0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kind, got := Decode(tt.meta, fallback)
			if kind != tt.kind || got != tt.want {
				t.Errorf("got %v %+v, want %v %+v", kind, got, tt.kind, tt.want)
			}
		})
	}
}

func TestDecodeFolder(t *testing.T) {
	d := fallback
	d.Dir = true
	for mode, perm := range map[string]uint32{"": 0o755, "040700": 0o700, "40700": 0o700, "16832": 0o700, "0120777": 0o755, "0100644": 0o755, "x": 0o755} {
		kind, a := Decode(map[string]string{"mode": mode}, d)
		if kind != entry.Dir || a.Perm != perm {
			t.Errorf("mode %q: %v %o, want %o", mode, kind, a.Perm, perm)
		}
	}
}

// Decimal modes, as s3fs writes them, are told from octal ones, with every
// permission that there is.
func TestDecimalModes(t *testing.T) {
	for perm := range uint32(0o10000) {
		for kind, bits := range map[entry.Kind]uint32{entry.File: typeFile, entry.Dir: typeDir} {
			want := bits | perm
			k, p, ok := decimalMode(itoa(want))
			if !ok || k != kind || p != perm {
				t.Fatalf("decimal %d: %v %o %v", want, k, p, ok)
			}
			for _, spelling := range []string{itoa(want), fmt.Sprintf("%o", want), fmt.Sprintf("0%o", want)} {
				if spelling == "41471" {
					continue // see parseMode
				}
				if k, p, ok = parseMode(spelling); !ok || k != kind || p != perm {
					t.Fatalf("%s: %v %o %v", spelling, k, p, ok)
				}
			}
		}
	}
}

func itoa(n uint32) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		kind := rapid.SampledFrom([]entry.Kind{entry.File, entry.Dir, entry.Symlink}).Draw(r, "kind")
		a := entry.Attrs{
			Perm: rapid.Uint32Range(0, 0o7777).Draw(r, "perm"),
			UID:  rapid.Uint32Range(0, math.MaxUint32-1).Draw(r, "uid"),
			GID:  rapid.Uint32Range(0, math.MaxUint32-1).Draw(r, "gid"),
			MTime: entry.Time{
				Sec:  rapid.Int64().Draw(r, "sec"),
				Nsec: rapid.Int32Range(0, 999999999).Draw(r, "nsec"),
			},
		}
		if kind == entry.Symlink {
			a.Perm = linkPerm
		}
		gotKind, got := Decode(Encode(kind, a), Defaults{Dir: kind == entry.Dir})
		if gotKind != kind || got != a {
			r.Fatalf("%v %+v became %v %+v by %v", kind, a, gotKind, got, Encode(kind, a))
		}
	})
}

// Whatever the metadata: what comes out can be given to the kernel.
func FuzzDecode(f *testing.F) {
	f.Add("0100644", "1000", "1000", "1700000000.123456789", "atime:1#2/gid:0/mode:33188/mtime:1#2/uid:0", false)
	f.Add("33188", "-1", "4294967295", "-0.000000001", "mode:", true)
	f.Add("41471", "", "0x10", "2001-09-09T01:46:40Z", "mtime:1#9999999999", false)
	f.Fuzz(func(t *testing.T, mode, uid, gid, mtime, list string, dir bool) {
		meta := map[string]string{"mode": mode, "uid": uid, "gid": gid, "mtime": mtime, "mc-attrs": list, "s3cmd-attrs": list}
		d := fallback
		d.Dir = dir
		kind, a := Decode(meta, d)
		if dir != (kind == entry.Dir) || kind != entry.File && kind != entry.Dir && kind != entry.Symlink {
			t.Errorf("kind %v, folder %v", kind, dir)
		}
		if a.Perm > 0o7777 || a.UID == math.MaxUint32 || a.GID == math.MaxUint32 || a.MTime.Nsec < 0 || a.MTime.Nsec >= 1e9 {
			t.Errorf("%+v", a)
		}
		if k, again := Decode(Encode(kind, a), Defaults{Dir: dir}); k != kind || again != a {
			t.Errorf("%+v became %+v", a, again)
		}
	})
}
