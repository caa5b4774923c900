package plan_test

import (
	"path"
	"strings"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
)

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		name             string
		include, exclude []string
		yes, no          []string
	}{
		{
			name: "no patterns: all but the reserved folder",
			yes:  []string{"a", "a/b", "a/", ".minio-sidecar-x", ".minio-sideca", "a/.minio-sidecar/b", ".minio-sidecar2/"},
			no:   []string{".minio-sidecar", ".minio-sidecar/", ".minio-sidecar/tmp/1"},
		},
		{
			name:    "the reserved folder cannot be included",
			include: []string{"**", ".minio-sidecar/**"},
			yes:     []string{"a"},
			no:      []string{".minio-sidecar/", ".minio-sidecar/writers/w.json"},
		},
		{
			name:    "a star stays in its segment, two cross segments",
			include: []string{"*.jpg", "deep/**/*.png"},
			yes:     []string{"a.jpg", "deep/a.png", "deep/x/y/a.png"},
			no:      []string{"x/a.jpg", "a.png", "deep/a.jpg", "deep/"},
		},
		{
			name:    "a folder stands for what is in it",
			include: []string{"docs"},
			yes:     []string{"docs", "docs/", "docs/a", "docs/a/b/c", "docs/a/"},
			no:      []string{"doc", "docs2", "docs2/a", "a/docs", "a/docs/b"},
		},
		{
			name:    "anywhere",
			exclude: []string{"**/node_modules"},
			yes:     []string{"a", "a/b/", "node_modules2/a"},
			no:      []string{"node_modules", "node_modules/", "node_modules/x", "a/node_modules/x/y", "a/b/node_modules/"},
		},
		{
			name:    "exclude wins",
			include: []string{"data/**"},
			exclude: []string{"**/*.tmp", "data/cache"},
			yes:     []string{"data/a", "data/x/a"},
			no:      []string{"data/a.tmp", "data/x/a.tmp", "data/cache/a", "data/cache/", "other"},
		},
		{
			name:    "an excluded folder hides what is included in it",
			include: []string{"**/keep.txt"},
			exclude: []string{"old"},
			yes:     []string{"keep.txt", "new/keep.txt"},
			no:      []string{"old/keep.txt", "old/x/keep.txt"},
		},
		{
			name:    "a slash at an end means the root, or a folder",
			exclude: []string{"/tmp", "cache/", "/both/"},
			yes:     []string{"a/tmp", "a/cache/x"},
			no:      []string{"tmp", "tmp/a", "cache/", "cache/a", "both/a"},
		},
		{
			name:    "alternatives, classes, escapes",
			exclude: []string{"*.{jpg,png}", "[0-9]*", `\*`, "[!a-z]?"},
			yes:     []string{"a.gif", "a", "abc", "b*"},
			no:      []string{"a.jpg", "a.png", "1", "9lives", "*", "Ab"},
		},
		{
			name:    "what holds for a file holds for its conflict copies",
			include: []string{"conf/app.yaml", "*.db"},
			exclude: []string{"secret.db"},
			yes: []string{
				"conf/app.conflict-web-1-20260304T040607.890Z.yaml", "a.conflict-web-1-20260304T040607.890Z.db",
				"conf/app.conflict-w-20260304T040607.890Z.conflict-v-20260304T040608.890Z.yaml",
			},
			no: []string{
				"conf/other.conflict-web-1-20260304T040607.890Z.yaml", "app.conflict-web-1-20260304T040607.890Z.yaml",
				"secret.conflict-web-1-20260304T040607.890Z.db", "conf/app.conflict.yaml",
			},
		},
		{
			name:    "names are bytes",
			exclude: []string{"ä*", "*\n*"},
			yes:     []string{"a", "a\xff"},
			no:      []string{"ä", "äb/c", "x\ny"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := plan.NewFilter(c.include, c.exclude)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range c.yes {
				if !f.Match(key) {
					t.Errorf("%q takes no part", key)
				}
			}
			for _, key := range c.no {
				if f.Match(key) {
					t.Errorf("%q takes part", key)
				}
			}
		})
	}
}

func TestNewFilterRefuses(t *testing.T) {
	for _, bad := range []string{"", "/", "//", "[", "a[", "{a", `a\`, "[]a]", `a\/`} {
		for _, asInclude := range []bool{true, false} {
			include, exclude := []string{"fine"}, []string{"fine"}
			if asInclude {
				include = append(include, bad)
			} else {
				exclude = append(exclude, bad)
			}
			_, err := plan.NewFilter(include, exclude)
			if err == nil || !strings.Contains(err.Error(), "pattern") {
				t.Errorf("pattern %q (include: %v): error %v, want one that names it", bad, asInclude, err)
			}
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("**/*.log", "a/b.log")
	f.Add("a/", "a/b/c")
	f.Add("{a,b}[!c]?*", "..//x/")
	f.Add("**", "/")
	f.Add(`\**`, "*\xff/\x00")
	f.Add(".minio-sidecar/**", ".minio-sidecar/x")
	f.Fuzz(func(t *testing.T, pattern, key string) {
		out, err := plan.NewFilter(nil, []string{pattern})
		if err != nil {
			return
		}
		in, err := plan.NewFilter([]string{pattern}, nil)
		if err != nil {
			t.Fatalf("%q is good to exclude, not to include: %v", pattern, err)
		}
		both, err := plan.NewFilter([]string{pattern}, []string{pattern})
		if err != nil {
			t.Fatal(err)
		}
		none := plan.Filter{}
		switch {
		case !none.Match(key) && (in.Match(key) || out.Match(key)):
			t.Errorf("%q is reserved, and matches", key)
		case none.Match(key) && in.Match(key) == out.Match(key):
			t.Errorf("%q: include and exclude of %q are not each other's opposite", key, pattern)
		case both.Match(key):
			t.Errorf("%q: %q was included although it is excluded", key, pattern)
		}
		// What is below an excluded path is excluded.
		if !out.Match(key) && path.Clean("/"+key) == "/"+entry.Path(key) && key != "" {
			if below := entry.Path(key) + "/below"; out.Match(below) {
				t.Errorf("%q is excluded by %q, %q is not", key, pattern, below)
			}
		}
	})
}

// A name is matched by itself once its special characters are escaped.
func FuzzFilterLiteral(f *testing.F) {
	f.Add("a[b]{c,d}*?\\!")
	f.Add("x/y z/-")
	f.Add("ä\xff\n")
	escape := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`, ",", `\,`)
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || path.Clean("/"+name) != "/"+name || !(plan.Filter{}).Match(name) {
			t.Skip()
		}
		filter, err := plan.NewFilter([]string{escape.Replace(name)}, nil)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if !filter.Match(name) {
			t.Errorf("%q does not match itself", name)
		}
	})
}
