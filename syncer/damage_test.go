package syncer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// rotten are files that MinIO keeps in its three ways: in the metadata of the
// object, in a file of its own, and in a file for each part.
func rotten() map[string]string {
	text := "this content will rot. "
	return map[string]string{
		"inline": text, "large": strings.Repeat(text, 20_000), "parts": strings.Repeat(text, 12<<20/len(text)),
	}
}

// rots is a volume whose bucket has all files that will rot, and a good one, or
// only some that will rot.
func (r *rig) rots(t *testing.T, only ...string) *node {
	a := r.node(t)
	a.partSize = 5 << 20
	a.start()
	if len(only) == 0 {
		a.write("good", "good")
	}
	for name, content := range rotten() {
		if len(only) == 0 || slices.Contains(only, name) {
			a.write(name, content)
		}
	}
	a.mustStop()
	return a
}

func (r *rig) rot(t *testing.T, name string) {
	t.Helper()
	rot(t, filepath.Join(r.server.DataDir, r.bucket, "app", name))
}

// notes counts the objects that are said to be damaged.
func (r *rig) notes(t *testing.T) (n int) {
	t.Helper()
	for o := range r.server.Client(t).Client.ListObjectsIter(t.Context(), r.bucket,
		minio.ListObjectsOptions{Prefix: "app/" + contract.DamagedPrefix, Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		n++
	}
	return n
}

// TestVerifyFindsDamage: a byte that flipped on the store's disk is found by
// verify, in every object that has one, with everything else that differs.
func TestVerifyFindsDamage(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a := r.rots(t)
	for name := range rotten() {
		r.rot(t, name)
	}
	a.write("good", "better")
	a.remove("large") // the object is read all the same
	diffs, err := a.open().Verify(t.Context())
	a.do(err)
	found := map[string]bool{}
	for _, d := range diffs {
		found[d.Path] = d.Damaged
		if d.Damaged != strings.HasPrefix(d.What, "the object is damaged: ") {
			t.Errorf("%+v", d)
		}
	}
	if diff := cmp.Diff(map[string]bool{"good": false, "inline": true, "large": true, "parts": true}, found); diff != "" {
		t.Errorf("found (- want, + got):\n%s", diff)
	}
}

// TestRestoreOfDamage: nothing damaged gets to the app, whichever way the store
// keeps it; what was missing is asked for until it is there again.
func TestRestoreOfDamage(t *testing.T) {
	server := testenv.MinIO(t)
	for name, content := range rotten() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			r.rots(t, name)
			r.rot(t, name)
			b := r.node(t)
			for range 2 {
				if err := b.tryRestore(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), name) {
					t.Fatalf("restore: %v", err)
				}
				if _, err := os.Stat(b.path(name)); !os.IsNotExist(err) {
					t.Errorf("a damaged file was handed out: %v", err)
				}
			}
			_, err := server.Client(t).Client.PutObject(t.Context(), r.bucket, "app/"+name,
				strings.NewReader(content), int64(len(content)), putOptions())
			b.do(err)
			b.restore()
			b.has(name, content)
			b.restore()
		})
	}
}

// TestDamageIsMended: a pod that runs, and is alone, puts its copy in the place
// of an object that nobody can read, so that another can start.
func TestDamageIsMended(t *testing.T) {
	server := testenv.MinIO(t)
	for name := range rotten() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			a := r.rots(t, name)
			a.attendEvery = 20 * time.Millisecond
			a.start()
			r.rot(t, name)
			b := r.node(t)
			b.await("mended", func() bool {
				err := b.tryRestore()
				if err != nil && !errors.Is(err, store.ErrDamaged) {
					t.Fatalf("restore: %v", err)
				}
				return err == nil
			})
			b.equals(a)
			if n := a.logged.count("the volume's copy is in its place now"); n != 1 {
				t.Errorf("it was mended %d times", n)
			}
			a.await("not noted any more", func() bool { return r.notes(t) == 0 })
			a.mustStop()
			a.verify()
		})
	}
}

// note leaves word of key as somebody may, whether it is true or not.
func (r *rig) note(t *testing.T, key string) {
	t.Helper()
	sum := sha256.Sum256([]byte(key))
	r.noteAs(t, hex.EncodeToString(sum[:]), key)
}

func (r *rig) noteAs(t *testing.T, name, text string) {
	t.Helper()
	_, err := r.server.Client(t).Client.PutObject(t.Context(), r.bucket, "app/"+contract.DamagedPrefix+name,
		strings.NewReader(text), int64(len(text)), putOptions())
	if err != nil {
		t.Fatal(err)
	}
}

// TestNotesOfAnybody: no note keeps another one from being heeded, nor a flush
// from its end, whatever is in it; and one that stays, for whatever reason, has
// nobody read an object again and again.
func TestNotesOfAnybody(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	proxy := r.between(t)
	a := r.rots(t, "large")
	a.attendEvery = 10 * time.Millisecond
	a.start()
	a.write("healthy", "healthy")
	a.write("busy", "busy")
	a.flush()
	var looks, reads, others atomic.Int64
	proxy.answers(func(w http.ResponseWriter, request *http.Request) bool {
		object := request.Method == http.MethodGet || request.Method == http.MethodHead
		switch path := request.URL.Path; {
		case request.URL.Query().Get("prefix") == "app/"+contract.DamagedPrefix:
			looks.Add(1)
		case object && strings.HasSuffix(path, "/app/healthy"):
			reads.Add(1)
		case object && strings.HasSuffix(path, "/app/missing"):
			others.Add(1)
		case object && strings.HasSuffix(path, "/app/busy"):
			return slowDown(func(*http.Request) bool { return true })(w, request)
		case request.Method == http.MethodDelete && strings.Contains(path, contract.DamagedPrefix):
			return denied(func(*http.Request) bool { return true })(w, request)
		}
		return false
	})
	for _, key := range []string{"../x", "a//b", "/x", "a/../x", "missing", "healthy", "busy", ".minio-sidecar/identity"} {
		r.note(t, key)
	}
	r.noteAs(t, "0", strings.Repeat("0", 2<<20))
	r.noteAs(t, "1", "healthy")
	r.rot(t, "large")
	r.note(t, "large")
	a.await("mended", func() bool { return a.logged.count("the volume's copy is in its place now") > 0 })
	if got := string(r.get(t, "app/large")); got != rotten()["large"] {
		t.Errorf("the bucket has %d bytes", len(got))
	}
	a.await("looking on", func() bool { return looks.Load() > 20 })
	if n := reads.Load(); n > 12 { // six times it is looked up, and read
		t.Errorf("an object that is well was asked for %d times in %d looks", n, looks.Load())
	}
	if others.Load() > 0 {
		t.Error("an object was asked for of which the volume has nothing")
	}
	a.flush()
	proxy.honest()
	a.mustStop()
	a.verify()
}

// TestHealThatFails: as long as the copy in the volume is the only one, no flush
// ends well, and neither does the sync; nor does the next one.
func TestHealThatFails(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a := r.node(t)
	a.start()
	a.write("f", "the only copy")
	a.write("good", "good")
	a.mustStop()
	failing := a.pick(&picky{key: "app/f", upload: errors.New("input/output error")})
	a.do(r.server.Client(t).RemoveObject(t.Context(), r.bucket, "app/f", removeOptions()))
	r.note(t, "f")
	for range 2 {
		a.start()
		a.await("failing", func() bool { return a.logged.count("path failed; will try again") > 0 })
		if !a.engine.holds("f").missing {
			t.Error("the bucket is said to have what it has not")
		}
		var unsynced *UnsyncedError
		if err := a.stopWithin(2 * time.Second); !errors.As(err, &unsynced) || unsynced.Count != 1 || unsynced.Paths[0].Path != "f" {
			t.Errorf("stop: %v", err)
		}
	}
	failing.off.Store(true)
	a.start()
	a.flush()
	a.has("f", "the only copy")
	if got := string(r.get(t, "app/f")); got != "the only copy" {
		t.Errorf("the bucket has %q", got)
	}
	a.mustStop()
}

// TestDamageIsNoDeletion: an object that the store drops because it cannot read
// it is brought back by a volume that has a copy, instead of being deleted
// there, whoever came upon it.
func TestDamageIsNoDeletion(t *testing.T) {
	server := testenv.MinIO(t)
	for name, content := range rotten() {
		for finder, find := range map[string]func(*rig, *node){
			"verify": func(_ *rig, a *node) {
				diffs, err := a.open().Verify(a.t.Context())
				a.do(err)
				if len(diffs) != 1 || !diffs[0].Damaged {
					a.t.Errorf("verify: %+v", diffs)
				}
			},
			"a restore": func(r *rig, a *node) {
				if err := r.node(a.t).tryRestore(); !errors.Is(err, store.ErrDamaged) {
					a.t.Errorf("restore: %v", err)
				}
			},
			"a follower": func(r *rig, a *node) {
				f := r.node(a.t, func(c *Config) { c.Mode = contract.ModeReadOnly })
				f.startOnly()
				f.await("damaged", func() bool { return condition(f) == status.Damaged })
				_ = f.stop()
			},
		} {
			t.Run(name+", "+finder, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, server)
				a := r.rots(t, name)
				r.rot(t, name)
				find(r, a)
				// As MinIO does sooner or later, if it has not done so already.
				drop := func() { a.do(server.Client(t).RemoveObject(t.Context(), r.bucket, "app/"+name, removeOptions())) }
				drop()
				if r.notes(t) != 1 {
					t.Errorf("%d notes", r.notes(t))
				}
				follower := r.node(t, func(c *Config) { c.Mode = contract.ModeReadOnly })
				follower.dir, follower.state = a.dir, a.state // the volume and the base of before
				a.shut()
				follower.start()
				follower.flush()
				follower.mustStop()
				follower.shut()
				a.has(name, content) // kept, where nothing may be uploaded

				a.start()
				a.flush()
				a.has(name, content)
				if got := string(r.get(t, "app/"+name)); got != content {
					t.Errorf("the bucket has %d bytes, want %d", len(got), len(content))
				}
				if r.notes(t) != 0 {
					t.Errorf("%d notes are left", r.notes(t))
				}
				// A deletion is one again.
				a.write("good", "good") // lest everything be deleted
				a.mustStop()
				drop()
				a.start()
				a.await("deleted", func() bool { _, err := os.Stat(a.path(name)); return os.IsNotExist(err) })
				a.mustStop()
			})
		}
	}
}
