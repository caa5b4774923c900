package interop

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// stamp is a time to the nanosecond.
var stamp = time.Unix(1700000000, 123456789)

// furnish fills the volume with what people have, and every sort of attribute.
func (n *node) furnish() {
	n.t.Helper()
	n.write("readme.txt", "hello")
	n.write("empty", "")
	n.write("a/b/c/deep.txt", "deep")
	n.write("a/b/two words.txt", "words")
	n.write("a/100%+1.txt", "signs")
	n.write("größe/日本語.txt", "letters")
	n.write("large.bin", strings.Repeat("0123456789abcdef", 1<<20)) // goes in parts
	n.write("run.sh", "#!/bin/sh\n")
	n.check(os.Chmod(n.path("run.sh"), 0o750))
	n.check(os.Chtimes(n.path("readme.txt"), stamp, stamp))
	n.check(os.Chtimes(n.path("a/b/c/deep.txt"), stamp, time.Unix(-86400, 500000000)))
	n.check(os.Chtimes(n.path("empty"), stamp, time.Unix(1<<32, 0)))
	if os.Geteuid() == 0 {
		n.check(os.Chown(n.path("a/100%+1.txt"), 1234, 5678))
	}
	n.check(os.Symlink("a/b/c/deep.txt", n.path("link")))
	n.check(os.Symlink("/nowhere/at all", n.path("dangling")))
	n.check(os.MkdirAll(n.path("void/of/all"), 0o755))
	n.write("private/key", "secret")
	n.check(os.Chmod(n.path("private"), 0o700))
}

// What we write is what others read: contents, names, sizes and times.
func TestOthersReadOurs(t *testing.T) {
	n := newLab(t, testenv.MinIO(t)).node()
	n.furnish() // beforehand: a folder that is empty for a moment may get an object
	n.start()
	n.stop()
	volume := n.describe()

	if err := n.rcloneCheck(); err != nil {
		t.Error(err)
	}

	// mc compares by its own lights, and all that it finds is what the page on
	// interoperability says.
	want := map[string]string{
		// Symbolic links: mc follows one, and so compares our object with what it
		// leads to; one that leads nowhere it does not see.
		"link":     "size",
		"dangling": "only in ours",
		// Folders it does not see either, and some have an object: an empty one,
		// and one whose mode or owner is not as usual.
		"void/of/all/": "only in ours",
		"private/":     "only in ours",
		// A file from the future (2106): it asks whether the file is newer than
		// the upload.
		"empty": "time",
	}
	if diff := cmp.Diff(want, n.mcDiff()); diff != "" {
		t.Errorf("mc diff (- wanted, + found):\n%s", diff)
	}

	// Times, to the nanosecond.
	times := map[string]string{}
	for line := range strings.Lines(n.rclone("lsf", "-R", "--files-only", "--format", "tp", "--separator", "|",
		"--time-format", "2006-01-02T15:04:05.999999999Z07:00", n.remote(), "--exclude", ours)) {
		when, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		parsed, err := time.Parse(time.RFC3339Nano, when)
		n.check(err)
		times[name] = describeTime(parsed)
	}
	for name, e := range volume {
		if !e.Mode.IsDir() && times[name] != e.MTime {
			t.Errorf("rclone says that %s is of %q, it is of %q", name, times[name], e.MTime)
		}
	}

	// And back again, with all attributes of files.
	back := n.node()
	n.rclone("copy", "-M", n.remote(), back.volume, "--exclude", ours)
	for name, e := range volume {
		if e.Mode&(fs.ModeDir|fs.ModeSymlink) != 0 {
			delete(volume, name)
		}
	}
	got := back.describe()
	for name, e := range got {
		if e.Mode.IsDir() {
			delete(got, name)
		}
	}
	for name := range n.links() {
		delete(got, name)
	}
	if diff := cmp.Diff(volume, got); diff != "" {
		t.Errorf("rclone copy -M (- in the volume, + copied back):\n%s", diff)
	}
}
