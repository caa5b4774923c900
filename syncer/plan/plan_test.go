package plan_test

import (
	"fmt"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
)

// The states that one side of a path can be in. Where the base has the path,
// "same" is to be there unchanged; where it has not, "same" is to be absent.
var (
	baseFile = entry.Base{
		Key:   "f",
		Local: entry.Fingerprint{Kind: entry.File, Size: 3, MTime: entry.Time{Sec: 100}, CTime: entry.Time{Sec: 100}, Inode: 7},
		ETag:  "old",
	}
	sameLocal  = entry.Local{Key: "f", Fingerprint: baseFile.Local}
	newLocal   = entry.Local{Key: "f", Fingerprint: entry.Fingerprint{Kind: entry.File, Size: 4, Inode: 8}}
	sameRemote = entry.Remote{Key: "f", ETag: "old"}
	newRemote  = entry.Remote{Key: "f", ETag: "new"}
)

func TestDecide(t *testing.T) {
	type local = *entry.Local
	type remote = *entry.Remote
	type base = *entry.Base
	for _, c := range []struct {
		name string
		base
		local
		remote
		l, r plan.Change
		want plan.Op
	}{
		// The path is in the base: the whole table, row by row.
		{"same, same", &baseFile, &sameLocal, &sameRemote, plan.Same, plan.Same, plan.None},
		{"same, changed", &baseFile, &sameLocal, &newRemote, plan.Same, plan.Changed, plan.Download},
		{"same, deleted", &baseFile, &sameLocal, nil, plan.Same, plan.Deleted, plan.DeleteLocal},
		{"changed, same", &baseFile, &newLocal, &sameRemote, plan.Changed, plan.Same, plan.Upload},
		{"changed, changed", &baseFile, &newLocal, &newRemote, plan.Changed, plan.Changed, plan.Resolve},
		{"changed, deleted", &baseFile, &newLocal, nil, plan.Changed, plan.Deleted, plan.Upload},
		{"deleted, same", &baseFile, nil, &sameRemote, plan.Deleted, plan.Same, plan.DeleteRemote},
		{"deleted, changed", &baseFile, nil, &newRemote, plan.Deleted, plan.Changed, plan.Download},
		{"deleted, deleted", &baseFile, nil, nil, plan.Deleted, plan.Deleted, plan.Forget},

		// It is not: absent is "same", present is "changed", and nothing can
		// be deleted.
		{"absent, absent", nil, nil, nil, plan.Same, plan.Same, plan.None},
		{"absent, new", nil, nil, &newRemote, plan.Same, plan.Changed, plan.Download},
		{"new, absent", nil, &newLocal, nil, plan.Changed, plan.Same, plan.Upload},
		{"new, new", nil, &newLocal, &newRemote, plan.Changed, plan.Changed, plan.Resolve},
	} {
		t.Run(c.name, func(t *testing.T) {
			item := plan.Item{Key: "f", Local: c.local, Remote: c.remote, Base: c.base}
			if got := item.LocalChange(); got != c.l {
				t.Errorf("local change %d, want %d", got, c.l)
			}
			if got := item.RemoteChange(); got != c.r {
				t.Errorf("remote change %d, want %d", got, c.r)
			}
			if got := plan.Decide(item); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// Each thing that can happen to a file shows in one of these.
func TestLocalChange(t *testing.T) {
	change := func(f func(*entry.Fingerprint)) entry.Local {
		l := sameLocal
		f(&l.Fingerprint)
		return l
	}
	for name, l := range map[string]entry.Local{
		"size":             change(func(f *entry.Fingerprint) { f.Size++ }),
		"mtime":            change(func(f *entry.Fingerprint) { f.MTime.Sec-- }),
		"nanosecond":       change(func(f *entry.Fingerprint) { f.MTime.Nsec++ }),
		"ctime":            change(func(f *entry.Fingerprint) { f.CTime.Nsec++ }),
		"inode":            change(func(f *entry.Fingerprint) { f.Inode++ }),
		"became a link":    change(func(f *entry.Fingerprint) { f.Kind = entry.Symlink }),
		"became a folder":  change(func(f *entry.Fingerprint) { f.Kind = entry.Dir }),
		"everything is so": sameLocal,
	} {
		want := plan.Changed
		if l == sameLocal {
			want = plan.Same
		}
		item := plan.Item{Key: "f", Local: &l, Base: &baseFile}
		if got := item.LocalChange(); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

// A folder is what its own attributes are; its times and size are its
// children's doing.
func TestLocalChangeOfFolder(t *testing.T) {
	base := entry.Base{
		Key:   "d/",
		Local: entry.Fingerprint{Kind: entry.Dir, Size: 4096, Inode: 1},
		Attrs: entry.Attrs{Perm: 0o755, UID: 1, GID: 2, MTime: entry.Time{Sec: 5}},
	}
	for name, c := range map[string]struct {
		attrs entry.Attrs
		want  plan.Change
	}{
		"same":  {base.Attrs, plan.Same},
		"mtime": {entry.Attrs{Perm: 0o755, UID: 1, GID: 2, MTime: entry.Time{Sec: 6}}, plan.Same},
		"perm":  {entry.Attrs{Perm: 0o700, UID: 1, GID: 2}, plan.Changed},
		"uid":   {entry.Attrs{Perm: 0o755, UID: 9, GID: 2}, plan.Changed},
		"gid":   {entry.Attrs{Perm: 0o755, UID: 1, GID: 9}, plan.Changed},
	} {
		l := entry.Local{
			Key:         "d/",
			Fingerprint: entry.Fingerprint{Kind: entry.Dir, Size: 8192, Inode: 3, MTime: entry.Time{Sec: 99}},
			Attrs:       c.attrs,
		}
		if got := (plan.Item{Key: "d/", Local: &l, Base: &base}).LocalChange(); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Whatever the others say, nothing is done about what cannot be synced or seen.
func TestDecideNothingAboutTheUnknowable(t *testing.T) {
	for _, kind := range []entry.Kind{entry.Special, entry.Opaque} {
		l := entry.Local{Key: "f", Fingerprint: entry.Fingerprint{Kind: kind}}
		for _, r := range []*entry.Remote{nil, &sameRemote, &newRemote} {
			for _, b := range []*entry.Base{nil, &baseFile} {
				if got := plan.Decide(plan.Item{Key: "f", Local: &l, Remote: r, Base: b}); got != plan.None {
					t.Errorf("%s, remote %v, base %v: %s", kind, r, b, got)
				}
			}
		}
	}
}

func TestRulesAllow(t *testing.T) {
	var (
		restore  = plan.Rules{}
		noDelete = plan.Rules{Push: true}
		all      = plan.Rules{Push: true, Delete: true}
		silly    = plan.Rules{Delete: true} // Delete without Push means nothing
	)
	for _, c := range []struct {
		op   plan.Op
		okIn []plan.Rules
	}{
		{plan.None, nil},
		{plan.Upload, []plan.Rules{noDelete, all}},
		{plan.DeleteRemote, []plan.Rules{all}},
		{plan.Download, []plan.Rules{restore, noDelete, all, silly}},
		{plan.DeleteLocal, []plan.Rules{restore, noDelete, all, silly}},
		{plan.Resolve, []plan.Rules{restore, noDelete, all, silly}},
		{plan.Forget, []plan.Rules{restore, noDelete, all, silly}},
	} {
		for _, rules := range []plan.Rules{restore, noDelete, all, silly} {
			want := plan.None
			for _, ok := range c.okIn {
				if ok == rules {
					want = c.op
				}
			}
			if got := rules.Allow(c.op); got != want {
				t.Errorf("%+v.Allow(%s) = %s, want %s", rules, c.op, got, want)
			}
		}
	}
}

func TestOpString(t *testing.T) {
	seen := map[string]bool{}
	for op := plan.None; op <= plan.Forget; op++ {
		if s := op.String(); s == "" || seen[s] {
			t.Errorf("Op %d is called %q, like another", op, s)
		} else {
			seen[s] = true
		}
	}
}

func TestWinner(t *testing.T) {
	at := func(sec int64, nsec int32) entry.Time { return entry.Time{Sec: sec, Nsec: nsec} }
	for _, c := range []struct {
		local, remote entry.Time
		want          plan.Side
	}{
		{at(2, 0), at(1, 0), plan.LocalSide},
		{at(1, 0), at(2, 0), plan.RemoteSide},
		{at(1, 5), at(1, 5), plan.RemoteSide}, // a tie
		{at(1, 6), at(1, 5), plan.LocalSide},
		{at(1, 5), at(1, 6), plan.RemoteSide},
		{at(-1, 999), at(-2, 0), plan.LocalSide},
		{at(-1<<40, 0), at(1<<40, 0), plan.RemoteSide},
	} {
		if got := plan.Winner(c.local, c.remote); got != c.want {
			t.Errorf("Winner(%v, %v) = %s, want %s", c.local, c.remote, got, c.want)
		}
	}
}

func TestSuspicious(t *testing.T) {
	for _, c := range []struct {
		deletes, total int64
		witnessed      bool
		want           bool
	}{
		{0, 0, false, false},
		{0, 1000, false, false},
		// Everything: an accident, unless it is little and was seen to happen.
		{1, 1, false, true},
		{1, 1, true, false},
		{9, 9, true, false},
		{9, 9, false, true},
		{10, 10, true, true},
		{1000, 1000, true, true},
		{12, 10, true, true}, // the base has shrunk meanwhile
		// Much of a small volume is a clean-up.
		{98, 99, true, false},
		{98, 99, false, false},
		{1, 2, false, false},
		// More than half of a large one is an accident, seen or not.
		{50, 100, false, false},
		{50, 100, true, false},
		{51, 100, false, true},
		{51, 100, true, true},
		{50, 101, false, false},
		{51, 101, false, true},
		{500_000, 1_000_000, false, false},
		{500_001, 1_000_000, true, true},
	} {
		b := plan.Batch{Deletes: c.deletes, Total: c.total, Witnessed: c.witnessed}
		if got := plan.Suspicious(b); got != c.want {
			t.Errorf("Suspicious(%+v) = %v, want %v", b, got, c.want)
		}
	}
}

func ExampleDecide() {
	base := entry.Base{Key: "report.csv", ETag: "a1"}
	remote := entry.Remote{Key: "report.csv", ETag: "b2"} // edited by somebody else
	fmt.Println(plan.Decide(plan.Item{Key: "report.csv", Remote: &remote, Base: &base}))
	// Output: download
}
