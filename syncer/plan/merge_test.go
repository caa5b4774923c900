package plan_test

import (
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
)

// listing yields list and then, if it is not nil, err.
func listing[T any](list []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			var zero T
			yield(zero, err)
		}
	}
}

func locals(keys ...string) (list []entry.Local) {
	for _, k := range keys {
		kind := entry.File
		if entry.IsDir(k) {
			kind = entry.Dir
		}
		list = append(list, entry.Local{Key: k, Fingerprint: entry.Fingerprint{Kind: kind}})
	}
	return list
}

func opaque(key string) entry.Local {
	return entry.Local{Key: key, Fingerprint: entry.Fingerprint{Kind: entry.Opaque}, Reason: "permission denied"}
}

func remotes(keys ...string) (list []entry.Remote) {
	for _, k := range keys {
		list = append(list, entry.Remote{Key: k})
	}
	return list
}

func bases(keys ...string) (list []entry.Base) {
	for _, k := range keys {
		list = append(list, entry.Base{Key: k})
	}
	return list
}

// describe writes an item as its key and the listings that had it: "a LRB".
func describe(i plan.Item) string {
	s := i.Key + " "
	if i.Local != nil {
		s += "L"
		if i.Local.Key != i.Key {
			s += "(wrong)"
		}
	}
	if i.Remote != nil {
		s += "R"
		if i.Remote.Key != i.Key {
			s += "(wrong)"
		}
	}
	if i.Base != nil {
		s += "B"
		if i.Base.Key != i.Key {
			s += "(wrong)"
		}
	}
	return s
}

func TestMerge(t *testing.T) {
	broken := errors.New("connection reset")
	for _, c := range []struct {
		name    string
		local   []entry.Local
		remote  []entry.Remote
		base    []entry.Base
		fails   [3]error // local, remote, base
		want    []string
		wantErr string // a part of it; "" for none
	}{
		{name: "nothing"},
		{
			name:   "each side has one of its own",
			local:  locals("a"),
			remote: remotes("b"),
			base:   bases("c"),
			want:   []string{"a L", "b R", "c B"},
		},
		{
			name:   "all have it",
			local:  locals("a", "z"),
			remote: remotes("a", "z"),
			base:   bases("a", "z"),
			want:   []string{"a LRB", "z LRB"},
		},
		{
			name:   "byte order puts a folder after what its name begins",
			local:  locals("a", "a-b", "a.txt", "a/", "a/b", "a0", "ä"),
			remote: remotes("a", "a-b", "a.txt", "a/", "a/b", "a0", "ä"),
			want:   []string{"a LR", "a-b LR", "a.txt LR", "a/ LR", "a/b LR", "a0 LR", "ä LR"},
		},
		{
			name:   "file here, folder there",
			local:  locals("a"),
			remote: remotes("a/", "a/b"),
			base:   bases("a"),
			want:   []string{"a LB", "a/ R", "a/b R"},
		},
		{
			name:   "below an unreadable folder nothing is known",
			local:  append(locals("a"), opaque("d/"), locals("d0")[0]),
			remote: remotes("d", "d-", "d/", "d/x", "d/x/y", "d0"),
			base:   bases("d/", "d/gone", "d/x", "e"),
			want:   []string{"a L", "d R", "d- R", "d/ LRB", "d0 LR", "e B"},
		},
		{
			name:   "two unreadable folders, one in the other's neighbourhood",
			local:  []entry.Local{opaque("d/"), opaque("e/f/")},
			remote: remotes("d/1", "e/1", "e/f/1", "e/g", "f"),
			want:   []string{"d/ L", "e/1 R", "e/f/ L", "e/g R", "f R"},
		},
		{
			name:    "a listing that fails at once",
			local:   locals("a"),
			base:    bases("a"),
			fails:   [3]error{nil, broken, nil},
			wantErr: "connection reset",
		},
		{
			name:    "a listing that fails half-way: what it did not show is not absent",
			local:   locals("a", "m", "z"),
			remote:  remotes("a"),
			base:    bases("a", "m", "z"),
			fails:   [3]error{nil, broken, nil},
			want:    []string{"a LRB"},
			wantErr: "connection reset",
		},
		{
			name:    "a scan that fails half-way",
			local:   locals("a"),
			remote:  remotes("a", "b"),
			base:    bases("a", "b"),
			fails:   [3]error{broken, nil, nil},
			want:    []string{"a LRB"},
			wantErr: "connection reset",
		},
		{
			name:    "a base that fails half-way",
			local:   locals("a", "b"),
			remote:  remotes("a", "b"),
			base:    bases("a"),
			fails:   [3]error{nil, nil, broken},
			want:    []string{"a LRB"},
			wantErr: "connection reset",
		},
		{
			name:    "a listing out of order",
			remote:  remotes("a", "c", "b", "d"),
			base:    bases("a", "c", "d"),
			want:    []string{"a RB", "c RB"},
			wantErr: `listing is out of order: "b" follows "c"`,
		},
		{
			name:    "a listing that repeats itself",
			remote:  remotes("a", "b", "b"),
			want:    []string{"a R", "b R"},
			wantErr: `listing is out of order: "b" follows "b"`,
		},
		{
			name:    "a scan out of order",
			local:   locals("b", "a"),
			want:    []string{"b L"},
			wantErr: `scan is out of order: "a" follows "b"`,
		},
		{
			name:    "a base out of order",
			base:    bases("b", "a"),
			want:    []string{"b B"},
			wantErr: `base is out of order: "a" follows "b"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			var gotErr error
			for item, err := range plan.Merge(
				listing(c.local, c.fails[0]), listing(c.remote, c.fails[1]), listing(c.base, c.fails[2])) {
				if gotErr != nil {
					t.Fatalf("%v was followed by %s, %v", gotErr, describe(item), err)
				}
				if gotErr = err; err == nil {
					got = append(got, describe(item))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("items %q, want %q", got, c.want)
			}
			switch {
			case c.wantErr == "" && gotErr != nil:
				t.Errorf("error %v, want none", gotErr)
			case c.wantErr != "" && (gotErr == nil || !strings.Contains(gotErr.Error(), c.wantErr)):
				t.Errorf("error %v, want %q", gotErr, c.wantErr)
			case c.fails != [3]error{} && !errors.Is(gotErr, broken):
				t.Errorf("error %v does not wrap its cause", gotErr)
			}
		})
	}
}

// Whoever stops listening stops the listings as well.
func TestMergeStops(t *testing.T) {
	ended := 0
	endless := func(yield func(entry.Remote, error) bool) {
		defer func() { ended++ }()
		for key := "a"; yield(entry.Remote{Key: key}, nil); key += "a" {
		}
	}
	n := 0
	for _, err := range plan.Merge(listing(locals("a"), nil), endless, listing(bases("a"), nil)) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 100 {
			break
		}
	}
	if n != 100 || ended != 1 {
		t.Errorf("%d items, %d of 1 listing ended", n, ended)
	}
}

// genKeys draws a sorted set of keys that are often each other's parents,
// children and neighbours.
func genKeys() *rapid.Generator[[]string] {
	segment := rapid.SampledFrom([]string{"a", "b", "a-", "a.", "a0", "ä", "A"})
	key := rapid.Custom(func(t *rapid.T) string {
		k := strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, "segments"), "/")
		if rapid.Bool().Draw(t, "folder") {
			k += "/"
		}
		return k
	})
	return rapid.Map(rapid.SliceOfNDistinct(key, 0, 20, rapid.ID[string]), func(keys []string) []string {
		slices.Sort(keys)
		return keys
	})
}

// The items are the union of the keys in order, each with what every listing
// has of it, up to the first fault; but nothing of what is below an unreadable
// folder.
func TestMergeIsTheUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lk, rk, bk := genKeys().Draw(t, "local"), genKeys().Draw(t, "remote"), genKeys().Draw(t, "base")
		l, r, b := locals(lk...), remotes(rk...), bases(bk...)
		unreadable := map[string]bool{}
		for i := range l {
			if l[i].Kind == entry.Dir && rapid.Bool().Draw(t, "unreadable") {
				l[i] = opaque(l[i].Key)
				unreadable[l[i].Key] = true
			}
		}
		// The scan shows nothing below a folder that it could not read.
		l = slices.DeleteFunc(l, func(e entry.Local) bool { return hidden(e.Key, unreadable) })

		want := map[string]string{}
		for _, e := range l {
			want[e.Key] += "L"
		}
		for _, k := range rk {
			want[k] += "R"
		}
		for _, k := range bk {
			want[k] += "B"
		}
		maps.DeleteFunc(want, func(k, _ string) bool { return hidden(k, unreadable) })

		var got []string
		for item, err := range plan.Merge(listing(l, nil), listing(r, nil), listing(b, nil)) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, describe(item))
		}
		var wanted []string
		for _, k := range slices.Sorted(maps.Keys(want)) {
			wanted = append(wanted, k+" "+want[k])
		}
		if !slices.Equal(got, wanted) {
			t.Fatalf("items\n%q, want\n%q", got, wanted)
		}
	})
}

func hidden(key string, unreadable map[string]bool) bool {
	for folder := range unreadable {
		if key != folder && strings.HasPrefix(key, folder) {
			return true
		}
	}
	return false
}

// However a listing is broken, what is concluded before the end is what would
// have been concluded of the whole, and the end is an error.
func TestMergeOfAFaultyListing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lk, rk, bk := genKeys().Draw(t, "local"), genKeys().Draw(t, "remote"), genKeys().Draw(t, "base")
		var whole []string
		for item := range plan.Merge(listing(locals(lk...), nil), listing(remotes(rk...), nil), listing(bases(bk...), nil)) {
			whole = append(whole, describe(item))
		}

		broken := errors.New("broken")
		var fails [3]error
		side := rapid.IntRange(0, 2).Draw(t, "side")
		fails[side] = broken
		keys := []*[]string{&lk, &rk, &bk}[side]
		*keys = (*keys)[:rapid.IntRange(0, len(*keys)).Draw(t, "cut")]

		var part []string
		var end error
		for item, err := range plan.Merge(
			listing(locals(lk...), fails[0]), listing(remotes(rk...), fails[1]), listing(bases(bk...), fails[2])) {
			if err != nil {
				end = err
				break
			}
			part = append(part, describe(item))
		}
		if !errors.Is(end, broken) {
			t.Fatalf("the error is lost: %v", end)
		}
		if len(part) > len(whole) || !slices.Equal(part, whole[:len(part)]) {
			t.Fatalf("concluded %q of a part, %q of the whole", part, whole)
		}
	})
}

func BenchmarkMerge(b *testing.B) {
	const n = 100_000
	var keys []string
	for i := range n {
		keys = append(keys, string([]byte{byte('a' + i/10000), byte('0' + i/1000%10), byte('0' + i/100%10), '/', byte('0' + i/10%10), byte('0' + i%10)}))
	}
	l, r, bs := locals(keys...), remotes(keys...), bases(keys...)
	b.ReportAllocs()
	for b.Loop() {
		items := 0
		for _, err := range plan.Merge(listing(l, nil), listing(r, nil), listing(bs, nil)) {
			if err != nil {
				b.Fatal(err)
			}
			items++
		}
		if items != n {
			b.Fatal(items)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/key")
}
