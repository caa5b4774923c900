package interop

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// Whatever happens in a volume, the bucket is equal to it soon afterwards, as
// rclone and mc see it, by nothing but the events: no scan is due for a day.
func TestEvents(t *testing.T) {
	n := newLab(t, testenv.MinIO(t)).node()
	outside := t.TempDir()
	rename := func(from, to string) { t.Helper(); n.check(os.Rename(from, to)) }
	for i := range 20 {
		n.write(fmt.Sprintf("old/%d/file", i), strconv.Itoa(i))
		n.write(fmt.Sprintf("old/%d/deep/er/file", i), strconv.Itoa(i))
	}
	n.start()

	for _, step := range []struct {
		name string
		do   func()
	}{
		{"deep trees with files at once", func() {
			for i := range 30 {
				folder := fmt.Sprintf("deep/%d/%s", i, strings.Repeat("down/", i%12))
				n.write(folder+"bottom", folder)
				n.write(fmt.Sprintf("deep/%d/top", i), folder)
				n.check(os.MkdirAll(n.path(folder+"empty/as/well"), 0o755))
			}
		}},
		{"a burst", func() {
			for i := range 2100 {
				n.write(fmt.Sprintf("burst/%d/%d", i%7, i), strconv.Itoa(i))
			}
		}},
		{"renamed files", func() {
			for i := range 100 {
				rename(n.path(fmt.Sprintf("burst/0/%d", i*7)), n.path(fmt.Sprintf("burst/1/renamed %d", i)))
			}
			rename(n.path("burst/2/2"), n.path("burst/3/3"))         // over another
			rename(n.path("burst/2/9"), filepath.Join(outside, "9")) // out
			rename(filepath.Join(outside, "9"), n.path("back"))      // in
		}},
		{"renamed folders", func() {
			rename(n.path("old"), n.path("new"))
			rename(n.path("new/0"), n.path("burst/zero"))        // across
			rename(n.path("new/1"), filepath.Join(outside, "1")) // out
			rename(n.path("new/2"), filepath.Join(outside, "2"))
			n.check(os.WriteFile(filepath.Join(outside, "2/file"), []byte("changed outside"), 0o644))
			rename(filepath.Join(outside, "2"), n.path("new/two")) // out and in
			n.write("new/two/deep/er/more", "written after the rename")
			rename(n.path("new/3"), n.path("swap"))
			rename(n.path("new/4"), n.path("new/3"))
			rename(n.path("swap"), n.path("new/4"))
			n.check(os.MkdirAll(n.path("new/5/deep/into"), 0o755))
			rename(n.path("burst/4"), n.path("new/5/deep/into/4"))
		}},
		// Of what is in them no event tells: neither of a file nor of a folder.
		{"folders never seen before moved in", func() {
			for _, name := range []string{"plain", "onward", "over", "again"} {
				for i := range 20 {
					stranger := filepath.Join(outside, name, strings.Repeat("down/", i%6), strconv.Itoa(i))
					n.check(os.MkdirAll(stranger+" empty", 0o755))
					n.check(os.WriteFile(stranger, []byte(name+strconv.Itoa(i)), 0o644))
				}
			}
			rename(filepath.Join(outside, "plain"), n.path("moved in"))
			n.write("moved in/down/down/more", "written after the rename")
			rename(filepath.Join(outside, "onward"), n.path("passing through")) // and on at once
			rename(n.path("passing through"), n.path("new/7/deep/passed through"))
			n.check(os.MkdirAll(n.path("taken"), 0o755))
			n.check(syscall.Rename(filepath.Join(outside, "over"), n.path("taken"))) // over an empty one, which os.Rename refuses
			rename(filepath.Join(outside, "again"), n.path("in and out"))
			rename(n.path("in and out"), filepath.Join(outside, "again")) // in, out and in
			n.check(os.Remove(filepath.Join(outside, "again/0")))
			rename(filepath.Join(outside, "again"), n.path("in and out"))
		}},
		{"deleted and made again", func() {
			for range 20 {
				n.check(os.RemoveAll(n.path("new/6")))
				n.write("new/6/file", "again")
				n.write("new/6/other/file", "again")
			}
			n.check(os.RemoveAll(n.path("burst/5")))
			n.write("burst/5", "a file now")
			n.check(os.Remove(n.path("back")))
			n.write("back/to/a/folder", "")
		}},
	} {
		step.do()
		n.awaitAgreed()
		if t.Failed() {
			t.Fatalf("after: %s", step.name)
		}
	}
	n.stop()
}

// awaitAgreed waits until bucket and volume are equal, and has both rclone and
// mc say so. mc sees no folders in a volume, so it must find all those that have
// an object, and no others: each empty one, and perhaps one that was empty once.
func (n *node) awaitAgreed() {
	n.t.Helper()
	n.awaitEqual()
	differs, volume := n.mcDiff(), n.describe()
	for path, what := range n.inVolume() {
		if what == "folder" && differs[path] != "only in ours" {
			n.t.Errorf("mc diff says %q of the empty folder %s", differs[path], path)
		}
	}
	maps.DeleteFunc(differs, func(path, how string) bool {
		folder, ok := strings.CutSuffix(path, "/")
		return ok && volume[folder].Mode.IsDir() && how == "only in ours"
	})
	if diff := cmp.Diff(map[string]string{}, differs); diff != "" {
		n.t.Errorf("mc diff (- wanted, + found):\n%s", diff)
	}
}

// The volume's own path goes away for a while, and things happen meanwhile.
func TestRootRenamed(t *testing.T) {
	n := newLab(t, testenv.MinIO(t)).node()
	n.write("before/file", "1")
	n.write("before/gone", "2")
	n.start()
	away := n.volume + ".away"
	n.check(os.Rename(n.volume, away))
	n.check(os.WriteFile(away+"/before/file", []byte("changed while away"), 0o644))
	n.check(os.Remove(away + "/before/gone"))
	n.check(os.MkdirAll(away+"/new/folder", 0o755))
	n.check(os.WriteFile(away+"/new/folder/file", []byte("made while away"), 0o644))
	n.await("aware of it", func(s status.Status) bool {
		return strings.Contains(fmt.Sprint(s.Notes), "removed, renamed or unmounted")
	})
	if got := n.inBucket(); len(got) < 2 {
		t.Errorf("deleted, because the volume was away: %v is left", got)
	}
	n.check(os.Rename(away, n.volume))
	n.awaitAgreed()
	// Events are heard again, of old folders and of new ones.
	n.await("watching again", func(s status.Status) bool { return len(s.Notes) == 0 && s.Condition == status.OK })
	n.write("before/file", "changed afterwards")
	n.write("new/folder/file", "changed afterwards")
	n.write("another/file", "made afterwards")
	n.awaitAgreed()
	n.stop()
}

// The kernel's queue of events overflows: while the syncer is stopped, more
// happens than it holds, and then what matters. A scan makes up for it.
func TestOverflow(t *testing.T) {
	n := newLab(t, testenv.MinIO(t)).node()
	n.write("noise/a", "")
	n.write("noise/b", "")
	n.write("kept/file", "")
	n.write("lost/file", "")
	n.start()
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	n.check(err)
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	n.check(err)

	n.signal(syscall.SIGSTOP)
	// Equal events in a row count as one, so they take turns.
	for i := range 2 * limit {
		n.check(os.Chmod(n.path("noise/"+string("ab"[i%2])), os.FileMode(0o600+i%4/2*4)))
	}
	n.write("kept/file", "changed unheard")
	n.check(os.RemoveAll(n.path("lost")))
	n.write("new/folder/file", "made unheard")
	n.signal(syscall.SIGCONT)
	n.awaitAgreed()
	if log, err := os.ReadFile(n.log); err != nil || !strings.Contains(string(log), "file events came faster than they could be read") {
		t.Errorf("the queue did not overflow, or nobody said so (%v)", err)
	}
	// And is heard again.
	n.write("new/folder/file", "changed and heard")
	n.awaitAgreed()
	n.stop()
}

// There are more folders than the kernel lets the syncer watch: those are
// looked at at intervals, by scans of everything or, where none is due, each by
// itself; and somebody is told. The limit is that of a user namespace, so that
// no other process is deprived.
func TestWatchesExhausted(t *testing.T) {
	t.Parallel() // it waits for the next of the intervals
	server := testenv.MinIO(t)
	for name, interval := range map[string]string{"scans": "1s", "polling alone": "24h"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newLab(t, server).node()
			n.wrapper = []string{"unshare", "--user", "--map-root-user", "sh", "-c",
				`echo 10 > /proc/sys/user/max_inotify_watches && exec setpriv --pdeathsig KILL "$@"`, "sh"}
			for i := range 30 {
				n.write(fmt.Sprintf("%d/sub/file", i), "")
			}
			n.start("--scan-interval=" + interval)
			s, err := n.status()
			n.check(err)
			if notes := strings.Join(s.Notes, "\n"); !strings.Contains(notes, "fs.inotify.max_user_watches") {
				t.Errorf("the status does not say what to raise: %q", notes)
			}
			for i := range 30 {
				n.write(fmt.Sprintf("%d/sub/file", i), "changed")
				n.write(fmt.Sprintf("%d/sub/new/file", i), "made")
			}
			n.check(os.RemoveAll(n.path("29")))
			n.check(os.Rename(n.path("28"), n.path("renamed")))
			n.awaitAgreed()
			n.stop()
		})
	}
}
