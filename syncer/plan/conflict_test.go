package plan_test

import (
	"path"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
)

func TestConflictPath(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 890e6, time.FixedZone("CET", 3600))
	const tag = ".conflict-web-1-20260304T040607.890Z"
	long := strings.Repeat("x", 255)
	for _, c := range []struct{ path, want string }{
		{"report.csv", "report" + tag + ".csv"},
		{"a/b/report.csv", "a/b/report" + tag + ".csv"},
		{"Makefile", "Makefile" + tag},
		{".bashrc", ".bashrc" + tag},
		{"home/.bashrc", "home/.bashrc" + tag},
		{".config.json", ".config" + tag + ".json"},
		{"v1.2/notes", "v1.2/notes" + tag},
		{"archive.tar.gz", "archive.tar" + tag + ".gz"},
		{"ends.", "ends" + tag + "."},
		{"..x", "." + tag + ".x"},
		{"ä ö.ü", "ä ö" + tag + ".ü"},
		{"no-ext." + strings.Repeat("e", 40), "no-ext." + strings.Repeat("e", 40) + tag},
		{long, long[:255-len(tag)] + tag},
		{"d/" + long[:251] + ".csv", "d/" + long[:255-len(tag)-4] + tag + ".csv"},
		{strings.Repeat("é", 127), strings.Repeat("é", (255-len(tag))/2) + tag},
	} {
		if got := plan.ConflictPath(c.path, "web-1", at, 1024); got != c.want {
			t.Errorf("ConflictPath(%q)\n got %q\nwant %q", c.path, got, c.want)
		}
	}
}

// What is kept beside a path must have room in the bucket as well.
func TestConflictPathFitsTheBucket(t *testing.T) {
	at := time.Unix(0, 0)
	const tag = ".conflict-web-1-19700101T000000.000Z"
	folder := strings.Repeat("d", 200) + "/"
	long := strings.Repeat("n", 200) + ".csv"
	for name, c := range map[string]struct {
		path string
		room int
		want string
	}{
		"room enough":            {folder + "report.csv", 300, folder + "report" + tag + ".csv"},
		"just enough":            {folder + "report.csv", len(folder + "report" + tag + ".csv"), folder + "report" + tag + ".csv"},
		"a shorter stem":         {folder + long, 300, folder + long[:300-len(folder+tag+".csv")] + tag + ".csv"},
		"the folder above":       {folder + "sub/" + long, len(folder) + 58, folder + long[:58-len(tag+".csv")] + tag + ".csv"},
		"the root":               {folder + folder + "report.csv", 100, "report" + tag + ".csv"},
		"nothing but the tag":    {"report.csv", 10, tag + ".csv"},
		"no room, a long prefix": {folder + "report.csv", -5, tag + ".csv"},
	} {
		if got := plan.ConflictPath(c.path, "web-1", at, c.room); got != c.want {
			t.Errorf("%s: %q\nwant %q", name, got, c.want)
		}
	}
}

func TestConflictPathOfOddWriters(t *testing.T) {
	at := time.Unix(0, 0)
	for writer, want := range map[string]string{
		"":                        "a.conflict--19700101T000000.000Z",
		"a/b/../c":                "a.conflict-a-b-..-c-19700101T000000.000Z",
		strings.Repeat("ä", 100):  "a.conflict-" + strings.Repeat("ä", 40) + "-19700101T000000.000Z",
		strings.Repeat("w", 3000): "a.conflict-" + strings.Repeat("w", 80) + "-19700101T000000.000Z",
	} {
		if got := plan.ConflictPath("a", writer, at, 1024); got != want {
			t.Errorf("writer %q: %q, want %q", writer, got, want)
		}
	}
}

func FuzzConflictPath(f *testing.F) {
	f.Add("a/b.csv", "web-1", int64(1_700_000_000_123), 1024)
	f.Add(".x", "", int64(0), 1000)
	f.Add(strings.Repeat("é", 130)+".jpg", "w", int64(-1), 1)
	f.Add(strings.Repeat("\x80", 255), strings.Repeat("\x80", 255), int64(1<<62), 1024)
	f.Add("a/..", "../..", int64(5), -1)
	f.Add(strings.Repeat("a/", 400)+"b.txt", "web-1", int64(5), 900)
	f.Fuzz(func(t *testing.T, p, writer string, milli int64, room int) {
		got := plan.ConflictPath(p, writer, time.UnixMilli(milli), room)
		dir, name := path.Split(p)
		gotDir, gotName := path.Split(got)
		if !strings.HasPrefix(dir, gotDir) {
			t.Errorf("%q is kept in folder %q", p, gotDir)
		}
		const most = 255 // of a name
		if len(p)+most <= room && gotDir != dir {
			t.Errorf("%q is kept in folder %q, though there is room for %d bytes", p, gotDir, room)
		}
		if room >= most && len(got) > room {
			t.Errorf("a path of %d bytes, with room for %d", len(got), room)
		}
		if len(gotName) > 255 {
			t.Errorf("a name of %d bytes", len(gotName))
		}
		if gotName == name || gotName == "." || gotName == ".." || !strings.Contains(gotName, ".conflict-") {
			t.Errorf("%q is kept as %q", name, gotName)
		}
		if ext := path.Ext(name); ext != name && len(ext) <= 32 && path.Ext(gotName) != ext && ext != "" {
			t.Errorf("%q lost its extension: %q", name, gotName)
		}
		if utf8.ValidString(p) && utf8.ValidString(writer) && !utf8.ValidString(got) {
			t.Errorf("%q of %q is not UTF-8 any more: %q", p, writer, got)
		}
		if later := plan.ConflictPath(p, writer, time.UnixMilli(milli+1), room); milli+1 > milli && later == got {
			t.Errorf("a millisecond later it has the same name: %q", got)
		}
	})
}
