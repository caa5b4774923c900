package syncer

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/internal/testmemory"
)

// However many files cannot be read, all are counted with their reason; they
// neither fill the memory nor the log.
func TestManyUnsyncable(t *testing.T) {
	const count = 200_000
	const limit = 1<<20 + 40*count
	before := testmemory.Live()
	u := newUnsyncables()
	lines := 0
	for i := range count {
		key := fmt.Sprintf("a/folder/as/it/may/be/%07d.txt", i)
		if n := u.put(key, "permission: open "+key+": permission denied", holding{here: true, missing: i%2 == 0}); n == byName || n == first {
			lines++
		}
	}
	if grown := testmemory.Live() - before; grown > limit {
		t.Errorf("%d bytes for each of %d paths", grown/count, count)
	}
	if lines != namedMax+1 {
		t.Errorf("%d lines in the log", lines)
	}
	total, byKind, paths := u.report(shownPaths)
	if total != count || !cmp.Equal(byKind, map[string]int64{"permission": count}) || len(paths) != shownPaths {
		t.Errorf("%d paths, %v, %d shown", total, byKind, len(paths))
	}
	if missing, named := u.missing(shownPaths); missing != count/2 || len(named) != shownPaths {
		t.Errorf("%d are missing, %d named", missing, len(named))
	}
	if paths[0].Path != "a/folder/as/it/may/be/0000000.txt" {
		t.Errorf("first is %v", paths[0])
	}
}

// However paths come, change their reasons and go, the counts are right, and
// what is named is so with its own reason.
func TestUnsyncables(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, model := newUnsyncables(), map[string]string{}
		u.room = 3
		keys := []string{"a", "b", "c", "d", "e"}
		genKey := rapid.SampledFrom(keys)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				key := genKey.Draw(t, "key")
				reason := rapid.SampledFrom([]string{"permission: ", "name: "}).Draw(t, "kind") + key
				u.put(key, reason, holding{here: true, missing: kindOf(reason) == "name"})
				model[key] = reason
			},
			"drop": func(t *rapid.T) {
				key := genKey.Draw(t, "key")
				u.drop(key)
				delete(model, key)
			},
			"scan": func(t *rapid.T) {
				scan, listed := u.begin(), rapid.Bool().Draw(t, "listed")
				for _, key := range keys {
					reason, known := model[key]
					_, named := u.named[key]
					missing := kindOf(reason) == "name"
					switch {
					case !known, named:
					case rapid.Bool().Draw(t, key+" is met"):
						u.put(key, reason, holding{here: true, missing: missing})
					case missing, listed:
						delete(model, key)
					}
				}
				u.complete(scan, listed)
			},
			"": func(t *rapid.T) {
				want := map[string]int64{}
				for _, reason := range model {
					want[kindOf(reason)]++
				}
				total, byKind, paths := u.report(u.room)
				if total != int64(len(model)) || !cmp.Equal(byKind, want) {
					t.Fatalf("%d paths, %v; want %d, %v", total, byKind, len(model), want)
				}
				if missing, _ := u.missing(u.room); missing != want["name"] {
					t.Fatalf("%d are missing; want %v", missing, want)
				}
				for _, p := range paths {
					if model[p.Path] != p.Reason {
						t.Fatalf("%q is named with %q, want %q", p.Path, p.Reason, model[p.Path])
					}
				}
			},
		})
	})
}
