package contract_test

import (
	"slices"
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
