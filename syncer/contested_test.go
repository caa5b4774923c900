package syncer

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// TestContestedNames: where a bucket has a key that is both a file and a folder,
// or a link and keys that lead through it, the volume gets the one or the
// other, whichever comes first, whole and as it is in the bucket; what has no
// room beside it is reported by its name, and goes nowhere; and what is beside
// them arrives. So it is for a restore, and for a sync that has to bring all
// itself.
func TestContestedNames(t *testing.T) {
	t.Parallel() // it waits out the backoff of what is in each other's way
	r := newRig(t, testenv.MinIO(t))
	outside := t.TempDir()
	first := r.node(t)
	first.start()
	first.write("good", "good")
	first.write("fine/file", "fine")
	first.do(os.Symlink(outside, first.path("evil")))
	first.do(os.Symlink("fine", first.path("within")))
	first.mustStop()
	want := first.listing()
	names := map[string]string{"good": want["good"], "evil": want["evil"], "within": want["within"]}
	for name := range names {
		delete(want, name)
	}
	const date = "1769904000.000000000" // as the proxy has it
	file := func(content string) string {
		return fmt.Sprintf("-rw-r--r-- %d:%d %s %q", os.Geteuid(), os.Getegid(), date, content)
	}
	names["both"] = file("a file")
	proxy := r.between(t)
	v := &invented{bodies: map[string]string{"app/both": "a file"}}
	below := map[string]string{}
	for name := range names {
		for _, key := range []string{name + "/child", name + "/deeper/child", name + "/file"} {
			v.bodies["app/"+key], below[key] = "evil: "+key, file("evil: "+key)
		}
	}
	proxy.haunt(r.bucket, v)

	restoring, syncing := r.node(t), r.node(t)
	var both sync.WaitGroup
	both.Go(func() {
		if err := restoring.tryRestore(); err != nil {
			t.Errorf("the restore does not succeed: %v", err)
		}
	})
	syncing.startOnly()
	syncing.await("in step", func() bool { return syncing.engine.isInStep() })
	syncing.await("done", func() bool { return syncing.engine.Status().Pending == 0 })
	both.Wait()
	for what, n := range map[string]*node{"restore": restoring, "sync": syncing} {
		found := n.listing()
		want, reported := maps.Clone(want), map[string]string{}
		const reason = "blocked: a file and a folder have this name"
		for name, entry := range names {
			folder := strings.HasPrefix(found[name], "d")
			if folder {
				want[name], want[name+"/deeper"] = want["fine"], want["fine"]
				reported[name] = reason
			} else {
				want[name] = entry
			}
			for key, entry := range below {
				switch {
				case !strings.HasPrefix(key, name+"/"):
				case folder:
					want[key] = entry
				default:
					reported[key] = reason
				}
			}
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("%s: the volume (- wanted, + found):\n%s", what, diff)
		}
		if diff := cmp.Diff(reported, n.unsyncable()); diff != "" {
			t.Errorf("%s: reported (- wanted, + found):\n%s", what, diff)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside the volume there are %v, %v", left, err)
	}
}

// unsyncable are the paths that a status reports so, and why.
func (n *node) unsyncable() map[string]string {
	n.t.Helper()
	s := n.engine.Status()
	found := map[string]string{}
	for _, p := range s.UnsyncablePaths {
		found[p.Path] = p.Reason
	}
	if int(s.Unsyncable) != len(found) {
		n.t.Errorf("%d paths cannot be synced, %d are named", s.Unsyncable, len(found))
	}
	return found
}

// wantReported checks that all these paths are reported for their name, and no
// others.
func (n *node) wantReported(keys []string) {
	n.t.Helper()
	found := n.unsyncable()
	for _, key := range keys {
		if reason, ok := found[legible(key)]; !ok || !strings.HasPrefix(reason, "name: ") {
			n.t.Errorf("%q is reported as %q, want its name to be the reason", key, reason)
		}
		delete(found, legible(key))
	}
	for key, reason := range found {
		n.t.Errorf("%q is reported: %s", key, reason)
	}
}
