package syncer

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Scans that are asked for while another one runs are done together, and of
// the whole volume only if there is no other way.
func TestGather(t *testing.T) {
	for name, c := range map[string]struct {
		asked []string
		all   bool
		want  []string
	}{
		"one":                  {asked: []string{"a/"}, want: []string{"a/"}},
		"again and again":      {asked: []string{"a/", "a/", "a/"}, want: []string{"a/"}},
		"several":              {asked: []string{"b/", "a/", "c/"}, want: []string{"a/", "b/", "c/"}},
		"one in another":       {asked: []string{"a/b/c/", "ab/", "a/", "a/d/"}, want: []string{"a/", "ab/"}},
		"everything":           {asked: []string{"a/", "", "b/"}, want: []string{""}},
		"more than there fits": {asked: []string{"a/"}, all: true, want: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			e := &Engine{scans: make(chan scanRequest, 64), scanAll: make(chan struct{}, 1)}
			if c.all {
				e.scanAll <- struct{}{}
			}
			done := make(chan error)
			for _, dir := range c.asked[1:] {
				e.scans <- scanRequest{dir: dir, done: done}
			}
			dirs, waiting := e.gather(scanRequest{dir: c.asked[0]})
			if !cmp.Equal(dirs, c.want) || len(waiting) != len(c.asked)-1 || len(e.scanAll) > 0 {
				t.Errorf("%q, %d waiting; want %q", dirs, len(waiting), c.want)
			}
		})
	}
}
