package syncer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// forbid gives the node's user a policy that allows all but to put objects under
// these keys of the bucket, instead of the usual one.
func (a *afflicted) forbid(keys string) (allow func()) {
	a.Helper()
	name := "no-put-" + a.bucket
	file := filepath.Join(a.TempDir(), "policy.json")
	a.node.do(os.WriteFile(file, fmt.Appendf(nil, `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]},
		{"Effect": "Deny", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::%s/%s"]}]}`, a.bucket, keys), 0o600))
	a.mc("admin", "policy", "create", "store", name, file)
	a.mc("admin", "policy", "attach", "store", name, "--user", a.user)
	a.mc("admin", "policy", "detach", "store", "readwrite", "--user", a.user)
	return func() {
		a.mc("admin", "policy", "attach", "store", "readwrite", "--user", a.user)
		a.mc("admin", "policy", "detach", "store", name, "--user", a.user)
	}
}

// forbidden is a node in step, behind a proxy, with a user of its own.
func forbidden(t *testing.T, server *testenv.Server) *afflicted {
	r := newRig(t, server)
	a := &afflicted{T: t, rig: r, proxy: r.between(t), user: "u-" + r.bucket}
	a.addUser(a.user)
	a.node = r.node(t)
	a.node.terse = true
	a.node.credentials = t.TempDir()
	secretVolume(t, a.node.credentials, a.user)
	a.node.start()
	a.node.fill(10)
	return a
}

// TestWritesRefused: a user may list and read and not write. Of many changes each
// is tried, and then only now and then one of them; when the right is given back
// all of them arrive.
func TestWritesRefused(t *testing.T) {
	t.Parallel() // it waits for most of the time
	const files = 500
	a := forbidden(t, testenv.MinIO(t))
	n := a.node
	allow := a.forbid("*")
	puts := a.proxy.puts.Load()
	for i := range files {
		n.write(fmt.Sprint("new/", i), "x")
	}
	n.remove("d0/0") // deletions are allowed
	n.await("tried", func() bool { return a.proxy.puts.Load()-puts >= files })
	n.await("denied", func() bool { return n.tells(status.AccessDenied) })
	time.Sleep(10 * time.Second)
	// Those that were under way when many had been refused, and in these ten
	// seconds a few more.
	if got := a.proxy.puts.Load() - puts; got > files+100 {
		t.Errorf("%d uploads were tried of %d files", got, files)
	}
	if s := n.engine.Status(); s.Pending < files || !n.tells(status.AccessDenied) {
		t.Errorf("%d are pending; %s", s.Pending, n.told())
	}
	n.await("deleted", func() bool { return len(n.rig.keys(t, "app/")) == 9 })

	allow()
	n.await("all there", func() bool { return n.engine.Status().Pending == 0 })
	n.hasKeys(9 + files)
	n.await("well again", func() bool { return n.tells(status.OK) })
	n.mustStop()
	n.verify()
}

// TestFolderRefused: a user may not write to one folder. However long the pause
// is that its many files have come to, those of another folder do not wait for
// it; and when the right is given back, all arrive.
func TestFolderRefused(t *testing.T) {
	t.Parallel()
	const files = 100
	a := forbidden(t, testenv.MinIO(t))
	n := a.node
	allow := a.forbid("app/no/*")
	for i := range files {
		n.write(fmt.Sprint("no/", i), "x")
	}
	refusals := n.engine.refused.uploads
	n.await("refused", func() bool {
		refusals.mu.Lock()
		defer refusals.mu.Unlock()
		return len(refusals.keys) == files && refusals.row >= refusedMost
	})
	pause := func(until time.Time) {
		refusals.gate.mu.Lock()
		defer refusals.gate.mu.Unlock()
		refusals.gate.until, refusals.gate.failing = until, true
	}
	pause(time.Now().Add(time.Hour))
	for i := range 50 {
		n.write(fmt.Sprint("yes/", i), "x")
	}
	n.write("d1/1", "changed")
	n.remove("d0/0")
	n.await("there", func() bool { return len(n.rig.keys(t, "app/")) == 10-1+50 })
	n.await("pending alone", func() bool {
		s := n.engine.Status()
		return s.Pending == files && s.OldestPendingSeconds > 0 && n.tells(status.AccessDenied)
	})
	n.write("no/0", "a change is not tried before its turn")
	allow()
	n.write("yes/more", "says nothing of the other folder")
	n.await("there", func() bool { return len(n.rig.keys(t, "app/")) == 10-1+51 })

	pause(time.Now())
	n.await("all there", func() bool { return n.engine.Status().Pending == 0 })
	n.hasKeys(10 - 1 + 51 + files)
	n.await("well again", func() bool { return n.tells(status.OK) })
	n.mustStop()
	n.verify()
}

// TestRefusals: many refused paths share one gate, one of them at a time; who was
// not refused does not ask; and the first that gets through frees all.
func TestRefusals(t *testing.T) {
	r := newRefusals()
	for i := range refusedMost {
		if err := r.mayAsk(fmt.Sprint(i)); err != nil {
			t.Fatalf("path %d, after fewer refusals than are many: %v", i, err)
		}
		r.refuse(fmt.Sprint(i))
		r.ended(fmt.Sprint(i), false, true)
	}
	open := func() {
		r.gate.mu.Lock()
		defer r.gate.mu.Unlock()
		r.gate.until = time.Time{}
	}
	denied := func(key string) bool {
		err := r.mayAsk(key)
		if err != nil && (!errors.Is(err, errNotAsked) || !errors.Is(err, store.ErrAccessDenied)) {
			t.Fatal(err)
		}
		return err != nil
	}
	if !denied("0") || denied("other") {
		t.Error("closed for others, or open for the refused")
	}
	open()
	for range 2 {
		if denied("0") || !denied("1") {
			t.Error("when it is time it is the turn of one, as often as that one asks")
		}
	}
	r.ended("0", false, true) // for want of room, say
	if denied("1") || !denied("0") {
		t.Error("the turn of one ends with its look")
	}
	r.refuse("1")
	r.ended("1", false, true)
	if !denied("2") {
		t.Error("open after one more refusal")
	}
	open()
	if denied("2") {
		t.Error("it is time")
	}
	if free := r.ended("2", false, false); free != nil || denied("2") {
		t.Error("that a path is not there any more says nothing of the others")
	}
	if free := r.ended("other", true, false); free != nil {
		t.Error("nor does another")
	}
	if denied("3") {
		t.Error("it is time")
	}
	free := r.ended("3", true, false)
	slices.Sort(free)
	if len(free) != refusedMost-2 || slices.Contains(free, "2") || slices.Contains(free, "3") {
		t.Errorf("freed are %v", free)
	}
	for _, key := range free {
		if denied(key) {
			t.Errorf("%s is held up after another got through", key)
		}
	}
}
