package contract_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

func TestSplitList(t *testing.T) {
	for value, want := range map[string][]string{
		"":                     nil,
		" , ,":                 nil,
		"a":                    {"a"},
		" a , b ":              {"a", "b"},
		"**/*.{jpg,png},tmp/*": {"**/*.{jpg,png}", "tmp/*"},
		"{a,{b,c}},d":          {"{a,{b,c}}", "d"},
		`a\,b,c`:               {`a\,b`, "c"},
		`\{a,b`:                {`\{a`, "b"},
		"a},b":                 {"a}", "b"},
		"{a,b":                 {"{a,b"},
		"ä,ö":                  {"ä", "ö"},
		`a\`:                   {`a\`},
	} {
		if got := contract.SplitList(value); !slices.Equal(got, want) {
			t.Errorf("SplitList(%q) = %q, want %q", value, got, want)
		}
	}
}

// Whatever people type, elements are trimmed, not empty, and made of what was
// typed; and splitting what was split changes nothing.
func FuzzSplitList(f *testing.F) {
	for _, s := range []string{"", "a,b", " a , ", "{a,b},c", `a\,b\`, "}{,}", "ä,\xff", ",,,", "{{{,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rest := s
		for _, e := range contract.SplitList(s) {
			if e == "" || strings.TrimSpace(e) != e {
				t.Errorf("%q has the element %q", s, e)
			}
			_, after, found := strings.Cut(rest, e)
			if !found {
				t.Fatalf("%q: element %q is not from it, or not in order", s, e)
			}
			rest = after
			if again := contract.SplitList(e); len(again) != 1 || again[0] != e {
				t.Errorf("%q: element %q splits again: %q", s, e, again)
			}
		}
	})
}
