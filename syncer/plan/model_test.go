package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
)

var (
	full     = plan.Rules{Push: true, Delete: true}
	noDelete = plan.Rules{Push: true}
	readOnly = plan.Rules{} // restore is this as well
)

// Several volumes and other clients write, delete and swap files for folders
// while everybody syncs, with plans that are old by the time they are carried
// out, and now and then a base that was lost. At every moment: nothing is lost,
// and what must not be touched is not. At the end: all agree, and there is
// nothing left to do.
func TestModel(t *testing.T) {
	for range 5 { // the rarest races show once in some hundred runs
		rapid.Check(t, model)
	}
}

func model(t *rapid.T) {
	w := newWorld(rapid.SliceOfN(rapid.SampledFrom([]plan.Rules{full, full, full, noDelete, readOnly}), 1, 4).Draw(t, "rules")...)
	actors := actors{w: w}
	for range rapid.IntRange(1, 4).Draw(t, "rounds") {
		actors.busy(t)
		if !w.settle() {
			t.Fatalf("it never comes to rest:\n%s", w)
		}
		checkLost(t, w)
		checkAgreed(t, w)
		actors.calm(t)
	}
}

// actors are all who do something, in an order that rapid draws.
type actors struct {
	w    *world
	todo []job
}

func (a *actors) busy(t *rapid.T) {
	defer func() { a.w.disturb = nil }()
	a.w.disturb = func(key string) {
		if rapid.IntRange(0, 2).Draw(t, "disturb") == 0 {
			a.edit(t, key)
		}
	}
	for range rapid.IntRange(1, 25).Draw(t, "actions") {
		switch rapid.IntRange(0, 5).Draw(t, "action") {
		case 0, 1, 2:
			a.edit(t, rapid.SampledFrom([]string{"a", "a/b", "a/c/d", "a/", "e", "e/", "f"}).Draw(t, "key"))
		case 3: // a volume looks at both sides; what it finds waits
			a.todo = append(a.todo, a.w.plan(a.volume(t))...)
		case 4: // some of what was found is done, in any order
			for range min(len(a.todo), 5) {
				i := rapid.IntRange(0, len(a.todo)-1).Draw(t, "job")
				j := a.todo[i]
				a.todo = slices.Delete(a.todo, i, i+1)
				if !a.w.do(j) {
					a.todo = append(a.todo, j)
				}
				checkLost(t, a.w)
			}
		case 5:
			clear(a.volume(t).base)
		}
		checkLost(t, a.w)
	}
	// What is still waiting was found by somebody who has been killed.
	a.todo = nil
}

// calm is when everybody agrees and one does one thing: all follow.
func (a *actors) calm(t *rapid.T) {
	w, v := a.w, a.volume(t)
	if len(w.remote) == 0 || v.rules == readOnly {
		return
	}
	key := rapid.SampledFrom(slices.Sorted(maps.Keys(w.remote))).Draw(t, "key")
	if !v.has(key, w.remote[key]) {
		return
	}
	followers := slices.DeleteFunc(slices.Clone(w.volumes), func(f *volume) bool { return !f.has(key, w.remote[key]) })
	if !entry.IsDir(key) && rapid.Bool().Draw(t, "edit") {
		s := w.make(entry.File, 1)
		w.write(v, key, s)
		w.settle()
		for _, f := range followers {
			if !w.remote[key].equals(s) || !f.has(key, s) {
				t.Fatalf("%s wrote %s, not all have it:\n%s", v.name, key, w)
			}
		}
		return
	}
	w.remove(v, key)
	w.settle()
	if _, there := w.remote[key]; there != (v.rules == noDelete) {
		t.Fatalf("%s deleted %s, in the bucket it is %v:\n%s", v.name, key, there, w)
	}
	for _, f := range followers {
		if _, there := f.local[key]; f != v && there != (v.rules == noDelete) {
			t.Fatalf("%s deleted %s, in %s it is %v:\n%s", v.name, key, f.name, there, w)
		}
	}
}

// has reports whether v has s at key, as agreed with the bucket.
func (v *volume) has(key string, s state) bool {
	b, known := v.base[key]
	return known && b.ETag == s.etag() && localOf(key, v.local[key]).Fingerprint == b.Local
}

func (a *actors) volume(t *rapid.T) *volume {
	return a.w.volumes[rapid.IntRange(0, len(a.w.volumes)-1).Draw(t, "volume")]
}

// edit is what an app, or another client of the bucket, does to key.
func (a *actors) edit(t *rapid.T, key string) {
	w := a.w
	mtime := rapid.Int64Range(1, 3).Draw(t, "mtime")
	kind := entry.File
	switch {
	case entry.IsDir(key):
		kind = entry.Dir
	case rapid.IntRange(0, 5).Draw(t, "link") == 0:
		kind = entry.Symlink
	}
	if rapid.IntRange(0, 3).Draw(t, "by another client") == 0 {
		if rapid.Bool().Draw(t, "delete") {
			w.drop(key)
		} else {
			w.put(key, w.make(kind, mtime))
		}
		return
	}
	v := a.volume(t)
	switch rapid.IntRange(0, 5).Draw(t, "edit") {
	case 0, 1:
		w.write(v, key, w.make(kind, mtime))
	case 2, 3:
		w.remove(v, key)
	case 4: // the same content again, as `touch` or a careless editor does
		if s, ok := v.local[key]; ok {
			w.write(v, key, s)
		}
	case 5: // what the bucket has by now, as after a copy by hand
		if s, ok := w.remote[key]; ok {
			w.write(v, key, s)
		}
	}
}

func checkLost(t *rapid.T, w *world) {
	t.Helper()
	if id, lost := w.lost(); lost {
		t.Fatalf("content %d is lost:\n%s", id, w)
	}
}

// checkAgreed is called when everybody has come to rest.
func checkAgreed(t *rapid.T, w *world) {
	t.Helper()
	for _, v := range w.volumes {
		for _, j := range w.plan(v) {
			if !v.blocked[j.key] {
				t.Fatalf("%s still has to do with %s:\n%s", v.name, j.key, w)
			}
		}
		for key := range v.blocked {
			if v.rules.Push && !slices.ContainsFunc(slices.Collect(maps.Keys(w.remote)), func(other string) bool { return inTheWay(key, other) }) {
				t.Fatalf("%s cannot write %s, and nothing in the bucket explains it:\n%s", v.name, key, w)
			}
		}
		for key := range v.base {
			_, here := v.local[key]
			if _, there := w.remote[key]; !here && !there {
				t.Fatalf("the base of %s remembers %s, which is gone:\n%s", v.name, key, w)
			}
		}
		if v.rules == readOnly {
			continue // may have, or have deleted, what it may not tell
		}
		for key, s := range v.local {
			if r, ok := w.remote[key]; (!ok || !r.equals(s)) && !v.blocked[key] {
				t.Fatalf("%s has %s, the bucket has not:\n%s", v.name, key, w)
			}
		}
		for key := range w.remote {
			_, ok := v.local[key]
			_, known := v.base[key] // deleted, and may not say so
			if !ok && !v.blocked[key] && (v.rules != noDelete || !known) {
				t.Fatalf("the bucket has %s, %s has not:\n%s", key, v.name, w)
			}
		}
	}
}

func (w *world) String() string {
	show := func(m map[string]state) (s string) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			s += fmt.Sprintf(" %s=%s@%d", key, m[key].etag(), m[key].mtime.Sec)
		}
		return s
	}
	s := "bucket:" + show(w.remote) + "\n"
	for _, v := range w.volumes {
		s += fmt.Sprintf("%s %+v:%s\n  base:", v.name, v.rules, show(v.local))
		for _, key := range slices.Sorted(maps.Keys(v.base)) {
			s += " " + key + "=" + v.base[key].ETag
		}
		s += fmt.Sprintf("\n  blocked: %v\n", slices.Sorted(maps.Keys(v.blocked)))
	}
	return s
}

// Each way in which one path can change on both sides, and what must be there
// in the end, on both: by content. Content 1 is what both agreed on; a conflict
// copy is shown by its content alone.
func TestOutcomes(t *testing.T) {
	const older, newer = 1, 2
	at := func(id int, mtime int64) state {
		return state{id: id, kind: entry.File, mtime: entry.Time{Sec: mtime}}
	}
	local, remote, touched := at(2, older), at(3, newer), at(1, newer)
	for _, c := range []struct {
		name          string
		known         bool // both had content 1
		local, remote *state
		want          string
	}{
		{"unchanged", true, nil, nil, "f=1"},
		{"edited locally", true, &local, nil, "f=2"},
		{"edited remotely", true, nil, &remote, "f=3"},
		{"touched locally", true, &touched, nil, "f=1"},
		{"deleted locally", true, &state{}, nil, ""},
		{"deleted remotely", true, nil, &state{}, ""},
		{"deleted on both sides", true, &state{}, &state{}, ""},
		{"deleted locally, edited remotely", true, &state{}, &remote, "f=3"},
		{"edited locally, deleted remotely", true, &local, &state{}, "f=2"},
		{"touched locally, deleted remotely", true, &touched, &state{}, "f=1"},
		{"edited on both sides, the bucket's is newer", true, &local, &remote, "f=3 copy=2"},
		{"edited on both sides, the volume's is newer", true, &remote, &local, "f=3 copy=2"},
		{"edited on both sides at the same time", true, new(at(2, 1)), new(at(3, 1)), "f=3 copy=2"},
		{"edited on both sides alike", true, &local, new(at(2, newer)), "f=2"},
		{"touched locally, edited remotely", true, &touched, new(at(3, older)), "f=1 copy=3"},
		{"new in the volume", false, &local, nil, "f=2"},
		{"new in the bucket", false, nil, &remote, "f=3"},
		{"new in both, alike", false, &local, &local, "f=2"},
		{"new in both, the bucket's is newer", false, &local, &remote, "f=3 copy=2"},
		{"new in both, the volume's is newer", false, &remote, &local, "f=3 copy=2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(full)
			v := w.volumes[0]
			if c.known {
				w.put("f", at(1, older))
				if !w.settle() || !v.local["f"].equals(at(1, older)) {
					t.Fatalf("was not restored:\n%s", w)
				}
			}
			if c.local != nil {
				if c.local.id == 0 {
					w.remove(v, "f")
				} else {
					w.write(v, "f", *c.local)
				}
			}
			if c.remote != nil {
				if c.remote.id == 0 {
					w.drop("f")
				} else {
					w.put("f", *c.remote)
				}
			}
			if !w.settle() {
				t.Fatalf("never comes to rest:\n%s", w)
			}
			for side, states := range map[string]map[string]state{"volume": v.local, "bucket": w.remote} {
				got := ""
				if f, ok := states["f"]; ok {
					got = fmt.Sprintf("f=%d", f.id)
				}
				for key, s := range states {
					if key != "f" {
						got += fmt.Sprintf(" copy=%d", s.id)
					}
				}
				if got != c.want {
					t.Errorf("%s: %q, want %q", side, got, c.want)
				}
			}
		})
	}
}

// A lost base costs comparisons, never data: equal content is adopted.
func TestLostBase(t *testing.T) {
	w := newWorld(full)
	v := w.volumes[0]
	for _, key := range []string{"a", "b/c", "b/d", "e/"} {
		kind := entry.File
		if entry.IsDir(key) {
			kind = entry.Dir
		}
		w.write(v, key, w.make(kind, 1))
	}
	w.settle()
	local, remote := maps.Clone(v.local), maps.Clone(w.remote)
	clear(v.base)
	if !w.settle() {
		t.Fatal("never comes to rest")
	}
	if !maps.Equal(local, v.local) || !maps.Equal(remote, w.remote) {
		t.Errorf("something moved:\n%s", w)
	}
	if len(v.base) != 4 {
		t.Errorf("%d of 4 paths were adopted", len(v.base))
	}
}

// A volume that may not push is filled, and never tells the bucket anything.
func TestReadOnlyVolume(t *testing.T) {
	w := newWorld(full, readOnly)
	a, b := w.volumes[0], w.volumes[1]
	w.write(a, "f", w.make(entry.File, 1))
	w.write(a, "g", w.make(entry.File, 1))
	w.write(a, "h", w.make(entry.File, 1))
	w.settle()
	w.write(b, "own", w.make(entry.File, 9))
	w.write(b, "f", w.make(entry.File, 9))
	w.remove(b, "g")
	w.remove(a, "h")
	w.settle()
	if got := slices.Sorted(maps.Keys(w.remote)); !slices.Equal(got, []string{"f", "g"}) {
		t.Errorf("the bucket has %v", got)
	}
	if !w.remote["f"].equals(a.local["f"]) || w.remote["f"].equals(b.local["f"]) {
		t.Errorf("the edit of the read-only volume moved:\n%s", w)
	}
	if got := slices.Sorted(maps.Keys(b.local)); !slices.Equal(got, []string{"f", "own"}) {
		t.Errorf("the read-only volume has %v", got)
	}
}
