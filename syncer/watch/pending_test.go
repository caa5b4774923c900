package watch

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is made dirty is covered by what is taken afterwards, and no more
// is kept than the bounds allow.
func TestPendingLosesNothing(t *testing.T) {
	path := rapid.Custom(func(r *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), 1, 4).Draw(r, "segments"), "/")
	})
	rapid.Check(t, func(r *rapid.T) {
		perDir, total := rapid.IntRange(1, 5).Draw(r, "per folder"), rapid.IntRange(1, 30).Draw(r, "total")
		p := newPending(perDir, total)
		open := map[string]bool{}
		take := func() bool {
			ev, ok := p.take()
			if ok && ev.Kind != Path && ev.Kind != Subtree {
				r.Fatalf("took %v", ev)
			}
			for path := range open {
				if ok && ev.covers(path) {
					delete(open, path)
				}
			}
			return ok
		}
		for range rapid.IntRange(0, 100).Draw(r, "steps") {
			switch rapid.IntRange(0, 4).Draw(r, "step") {
			case 0:
				dir := path.Draw(r, "folder") + "/"
				p.subtree(dir)
				open[dir+"anything"] = true
			case 1:
				take()
			default:
				name := path.Draw(r, "path")
				p.path(name)
				open[name] = true
			}
			if p.total < 0 || p.total > total || len(p.order) != len(p.folders) || len(p.order) > p.total {
				r.Fatalf("total %d of %d, %d folders, %d in order", p.total, total, len(p.folders), len(p.order))
			}
		}
		for take() {
		}
		if len(open) > 0 {
			r.Fatalf("lost %v", open)
		}
		if p.total != 0 || len(p.folders) != 0 {
			r.Fatalf("empty, but total %d, %d folders", p.total, len(p.folders))
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 'n', 'a', 'm', 'e', 0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 2, 3})
	f.Add([]byte{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			ev, rest, err := parse(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) || strings.IndexByte(ev.name, 0) >= 0 {
				t.Fatalf("%v, %d of %d bytes are left", ev, len(rest), len(b))
			}
			b = rest
		}
	})
}
