package syncer

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// TestEngine runs the engine against one real MinIO; each case has a bucket.
func TestEngine(t *testing.T) {
	server := testenv.MinIO(t)
	for name, run := range map[string]func(*testing.T, *rig){
		"files follow from node to node":              filesFollow,
		"a flush makes what was written durable":      flushIsABarrier,
		"deletions and renames reach the bucket":      deletionsFollow,
		"folder becomes file and file becomes folder": kindsSwap,
		"two writers see each other":                  writersConverge,
		"a conflict keeps both":                       conflictKeepsBoth,
		"restart continues from the base":             restartContinues,
		"a lost base adopts":                          lostBaseAdopts,
		"a lost base and other attributes":            lostBaseAttributes,
		"an emptied volume does not empty the bucket": emptiedVolume,
		"a replaced volume does not empty the bucket": replacedVolume,
		"a flush at once waits for the first listing": flushAtOnce,
		"read-only never writes":                      readOnlyNeverWrites,
		"delete false keeps objects":                  deleteFalseKeeps,
		"exclude hides without deleting":              excludeHides,
		"missing bucket":                              missingBucket,
		"create bucket":                               createBucket,
		"wrong credentials":                           wrongCredentials,
		"hostile keys are reported and never written": hostileKeys,
		"a burst of files in deep folders":            burst,
		"a log that never rests is flushed":           logIsFlushed,
		"rewritten in place while uploading":          rewrittenInPlace,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newRig(t, server))
		})
	}
}

func filesFollow(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.write("index.html", "hello")
	a.write("empty.txt", "")
	a.write("deep/er/and/deeper/file with space ünï.txt", "x")
	a.write("big.bin", strings.Repeat("0123456789abcdef", 2<<20)) // 32 MiB: several parts
	a.do(os.Mkdir(a.path("empty folder"), 0o700))
	a.do(os.Symlink("../index.html", a.path("deep/link")))
	a.do(os.Symlink("/nowhere/at all", a.path("dangling")))
	a.do(os.Chmod(a.path("index.html"), 0o600))
	a.do(os.Chmod(a.path("deep"), 0o750))
	old := time.Date(1999, 12, 31, 23, 59, 59, 123456789, time.UTC)
	a.do(os.Chtimes(a.path("empty.txt"), old, old))
	if os.Geteuid() == 0 {
		a.do(os.Lchown(a.path("big.bin"), 1234, 4321))
	}
	a.mustStop()
	a.verify()

	b := r.node(t)
	b.restore()
	b.equals(a)
	b.verify()
	if p := b.engine.Status().Progress; p.FilesDone != p.FilesTotal || p.FilesDone == 0 {
		t.Errorf("progress of a complete restore: %+v", p)
	}
}

func deletionsFollow(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	for i := range 10 {
		a.write(fmt.Sprintf("keep/%d", i), "k")
		a.write(fmt.Sprintf("gone/%d", i), "g")
		a.write(fmt.Sprintf("old/%d", i), "r")
	}
	a.flush()
	a.remove("gone")
	a.remove("keep/3")
	a.do(os.Rename(a.path("old"), a.path("new")))
	a.flush()
	b := r.node(t)
	b.restore()
	b.equals(a)
	keys := r.keys(t, "app/")
	for _, key := range keys {
		if strings.HasPrefix(key, "gone/") || strings.HasPrefix(key, "old/") || key == "keep/3" {
			t.Errorf("%s is still in the bucket", key)
		}
	}
}

func kindsSwap(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.write("a", "file")
	a.write("b/c", "in folder")
	a.write("rest", "stays")
	a.flush()
	a.remove("a")
	a.write("a/inside", "now a folder")
	a.remove("b")
	a.write("b", "now a file")
	a.mustStop()
	b := r.node(t)
	b.restore()
	b.equals(a)
}

func writersConverge(t *testing.T, r *rig) {
	a, b := r.node(t), r.node(t)
	a.start()
	a.write("shared.txt", "from a")
	a.flush()
	b.restore()
	b.start()
	b.write("other.txt", "from b")
	b.flush()
	a.await("pulled", func() bool { c, err := os.ReadFile(a.path("other.txt")); return err == nil && string(c) == "from b" })
	a.write("shared.txt", "from a, again")
	a.flush()
	b.await("pulled", func() bool { c, _ := os.ReadFile(b.path("shared.txt")); return string(c) == "from a, again" })
	b.remove("other.txt")
	b.flush()
	a.await("deleted", func() bool { _, err := os.Stat(a.path("other.txt")); return os.IsNotExist(err) })
	a.write("last words", "written just before the end")
	a.mustStop()
	b.await("pulled after a left", func() bool { _, err := os.Stat(b.path("last words")); return err == nil })
	b.equals(a)
}

func conflictKeepsBoth(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.write("f.txt", "original")
	a.mustStop()
	b := r.node(t)
	b.restore()
	// Both edit while neither hears of the other; b's edit is the newer.
	older, newer := time.Now().Add(-time.Hour), time.Now()
	a.write("f.txt", "edit of a")
	a.do(os.Chtimes(a.path("f.txt"), older, older))
	b.write("f.txt", "the edit of b")
	b.do(os.Chtimes(b.path("f.txt"), newer, newer))
	a.start()
	a.mustStop()
	b.start()
	b.mustStop()
	c := r.node(t)
	c.restore()
	c.equals(b)
	list := c.listing()
	if content, _ := os.ReadFile(c.path("f.txt")); string(content) != "the edit of b" {
		t.Errorf("f.txt is %q", content)
	}
	var copies int
	for name := range list {
		if strings.HasPrefix(name, "f.conflict-") && strings.HasSuffix(name, ".txt") {
			copies++
			if content, _ := os.ReadFile(c.path(name)); string(content) != "edit of a" {
				t.Errorf("%s is %q", name, content)
			}
		}
	}
	if copies != 1 || len(list) != 2 {
		t.Errorf("want f.txt and one conflict copy, got %v", list)
	}
}

func restartContinues(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	for i := range 50 {
		a.write(fmt.Sprintf("%d", i), "x")
	}
	a.mustStop()
	a.remove("7") // while nobody watches
	a.write("8", "changed")
	a.start()
	a.mustStop()
	if p := a.engine.Status().Progress; p.FilesDone != 1 {
		t.Errorf("a restart moved %d files, want 1", p.FilesDone)
	}
	b := r.node(t)
	b.restore()
	b.equals(a)
}

func lostBaseAdopts(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	for i := range 50 {
		a.write(fmt.Sprintf("%d", i), fmt.Sprint("content ", i))
	}
	a.do(os.Symlink("7", a.path("link")))
	a.do(os.Mkdir(a.path("empty"), 0o755))
	a.mustStop()
	before := a.listing()
	a.shut()
	a.state = t.TempDir()
	a.start()
	a.mustStop()
	if p := a.engine.Status().Progress; p.FilesDone != 0 {
		t.Errorf("adopting moved %d files, want none", p.FilesDone)
	}
	if len(a.listing()) != len(before) {
		t.Errorf("adopting changed the volume: %v", a.listing())
	}
}

func emptiedVolume(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	for i := range 120 {
		a.write(fmt.Sprintf("%03d", i), "x")
	}
	a.flush()
	for i := range 120 {
		a.remove(fmt.Sprintf("%03d", i))
	}
	a.await("halted", func() bool { return condition(a) == status.Halted })
	if n := len(r.keys(t, "app/")); n != 120 {
		t.Errorf("%d objects are left of 120", n)
	}
	a.write("new", "still uploaded")
	a.await("uploaded while halted", func() bool { return slices.Contains(r.keys(t, "app/"), "new") })
	var unsynced *UnsyncedError
	if err := a.stop(); !errors.As(err, &unsynced) || unsynced.Halted == 0 {
		t.Errorf("stop with held deletions: %v", err)
	}
	a.start()
	a.await("halted again", func() bool { return condition(a) == status.Halted })
	if err := a.engine.Flush(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if keys := r.keys(t, "app/"); len(keys) != 1 {
		t.Errorf("after the confirmation: %v", keys)
	}
}

func replacedVolume(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	for i := range 5 {
		a.write(fmt.Sprint(i), "x")
	}
	a.flush()
	// Everything goes, the marker too: as when the volume is unmounted.
	a.do(os.Rename(a.dir, a.dir+".away"))
	a.do(os.Mkdir(a.dir, 0o755))
	if err := a.engine.Flush(t.Context(), false); err == nil {
		t.Error("a flush of a volume that is gone succeeded")
	}
	if n := len(r.keys(t, "app/")); n != 5 {
		t.Errorf("%d objects are left of 5", n)
	}
	a.config.FlushTimeout = time.Second
	if err := a.stopWithin(time.Second); err == nil {
		t.Error("sync of a volume that is gone ended well")
	}
	a.start() // on the new, empty directory: it is another volume
	if n := len(r.keys(t, "app/")); n != 5 {
		t.Errorf("%d objects are left of 5", n)
	}
	if content, _ := os.ReadFile(a.path("3")); string(content) != "x" {
		t.Errorf("the new volume was not restored: %q", content)
	}
}

func readOnlyNeverWrites(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.write("f", "1")
	a.flush()
	b := r.node(t, func(c *Config) { c.Mode = contract.ModeReadOnly })
	b.restore()
	b.start()
	b.write("mine", "local only")
	b.write("f", "edited")
	a.write("g", "2")
	a.flush()
	b.await("followed", func() bool { _, err := os.Stat(b.path("g")); return err == nil })
	b.mustStop()
	if keys := r.keys(t, "app/"); !slices.Equal(keys, []string{"f", "g"}) {
		t.Errorf("a read-only volume wrote: %v", keys)
	}
}

func deleteFalseKeeps(t *testing.T, r *rig) {
	a := r.node(t, func(c *Config) { c.Delete = false })
	a.start()
	a.write("f", "1")
	a.write("g", "2")
	a.flush()
	a.remove("f")
	a.mustStop()
	if keys := r.keys(t, "app/"); !slices.Equal(keys, []string{"f", "g"}) {
		t.Errorf("objects: %v", keys)
	}
}

func excludeHides(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.write("keep.txt", "1")
	a.write("cache/x.tmp", "2")
	a.mustStop()
	a.config.Exclude = []string{"cache", "**/*.log"}
	a.start()
	a.remove("cache")
	a.write("new.log", "not this")
	a.write("sub/new.log", "nor this")
	a.write("new.txt", "this")
	a.mustStop()
	if keys := r.keys(t, "app/"); !slices.Equal(keys, []string{"cache/x.tmp", "keep.txt", "new.txt"}) {
		t.Errorf("objects: %v", keys)
	}
}

func missingBucket(t *testing.T, r *rig) {
	a := r.node(t, func(c *Config) { c.Bucket = "no-such-bucket-here" })
	if err := a.tryRestore(); !errors.Is(err, store.ErrNoBucket) {
		t.Errorf("restore from a bucket that does not exist: %v", err)
	}
}

func createBucket(t *testing.T, r *rig) {
	a := r.node(t, func(c *Config) { c.Bucket = r.bucket + "-new"; c.CreateBucket = true })
	a.restore()
	a.start()
	a.write("f", "1")
	a.mustStop()
}

func wrongCredentials(t *testing.T, r *rig) {
	other := *r.server
	other.SecretKey = "wrong-wrong-wrong"
	bad := &rig{server: &other, bucket: r.bucket, endpoint: r.endpoint}
	if err := bad.node(t).tryRestore(); !errors.Is(err, store.ErrAccessDenied) {
		t.Errorf("restore with a wrong key: %v", err)
	}
}

func hostileKeys(t *testing.T, r *rig) {
	client := r.server.Client(t)
	put := func(key, body string) {
		t.Helper()
		if _, err := client.PutObject(t.Context(), r.bucket, key, strings.NewReader(body), int64(len(body)), "", "", putOptions()); err != nil {
			t.Fatalf("put %q: %v", key, err)
		}
	}
	put("app/good", "good")
	put("app/.minio-sidecar/evil", "ours")
	put("app/"+strings.Repeat("n", 200)+"/"+"x", "long")
	put("other/secret", "of another tenant")
	put("app-other/secret", "of a tenant whose prefix begins like ours")
	a := r.node(t)
	a.restore()
	list := a.listing()
	if _, ok := list["good"]; !ok || len(list) != 3 {
		t.Errorf("restored: %v", list)
	}
	if _, err := os.Stat(a.path(".minio-sidecar/evil")); !os.IsNotExist(err) {
		t.Errorf("a reserved key was restored: %v", err)
	}
}

func burst(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	const n = 2000
	for i := range n {
		a.write(fmt.Sprintf("d%d/e%d/f%d/%d", i%7, i%11, i%13, i), fmt.Sprint(i))
	}
	a.flush()
	if got := len(r.keys(t, "app/")); got != n {
		t.Errorf("%d objects of %d", got, n)
	}
	a.verify()
}

func rewrittenInPlace(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	f, err := os.Create(a.path("page"))
	a.do(err)
	defer f.Close()
	for i := range 400 {
		block := []byte(strings.Repeat(fmt.Sprint(i%10), 256<<10))
		for off := range 4 {
			_, err := f.WriteAt(block, int64(off*len(block)))
			a.do(err)
		}
		if i%40 == 0 {
			time.Sleep(60 * time.Millisecond)
			obj, err := r.server.Client(t).Client.GetObject(t.Context(), r.bucket, "app/page", getOptions())
			a.do(err)
			checkPage(t, obj)
		}
	}
	a.mustStop()
}
