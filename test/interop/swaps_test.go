package interop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// form is something that can be at a path.
type form struct {
	name string
	make func(n *node, path string)
}

var forms = []form{
	{"file", func(n *node, path string) { n.write(path, "a file") }},
	{"folder", func(n *node, path string) { n.write(path+"/in/it", "in it"); n.write(path+"/too", "too") }},
	{"empty folder", func(n *node, path string) { n.check(os.MkdirAll(n.path(path), 0o755)) }},
	{"link", func(n *node, path string) { n.check(os.Symlink("../elsewhere", n.path(path))) }},
	{"nothing", func(*node, string) {}},
	{"pipe", func(n *node, path string) { n.check(syscall.Mkfifo(n.path(path), 0o600)) }},
}

// eachSwap visits a path for every form that becomes another.
func eachSwap(visit func(path string, was, is int)) {
	for was := range forms {
		for is := range forms {
			if was != is {
				visit(fmt.Sprintf("swap/%s becomes %s", forms[was].name, forms[is].name), was, is)
			}
		}
	}
}

// Whatever a path turns into, the bucket has that, and nothing of before.
func TestSwaps(t *testing.T) {
	l := newLab(t, testenv.MinIO(t))
	from := l.node()
	l.check(os.Mkdir(from.path("swap"), 0o755))
	from.write("swap/bystander", "")
	from.write("elsewhere/untouched", "")
	eachSwap(func(path string, was, _ int) { forms[was].make(from, path) })
	from.start()
	eachSwap(func(path string, _, is int) {
		l.check(os.RemoveAll(from.path(path)))
		forms[is].make(from, path)
	})
	from.flush()

	// What cannot be an object leaves the one that was there alone.
	pipes := map[string]string{}
	eachSwap(func(path string, was, is int) {
		if forms[is].name == "pipe" {
			pipes[path] = "a named pipe"
		}
	})
	from.wantUnsyncable(pipes)
	eachSwap(func(path string, was, is int) {
		if forms[is].name != "pipe" {
			return
		}
		l.check(os.Remove(from.path(path)))
		if name := forms[was].name; name == "file" || name == "link" {
			forms[was].make(from, path)
		}
	})

	to := l.node()
	to.restore()
	want, got := from.describe(), to.describe()
	eachSwap(func(path string, was, is int) {
		if e, ok := got[path]; ok && forms[is].name == "pipe" {
			e.MTime = want[path].MTime // that of the one before
			got[path] = e
		}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(- volume, + restored):\n%s", diff)
	}
	from.awaitEqual()
}

// choice says which of the two things that a path is in turn.
type choice func(was, is int) int

func first(was, _ int) int { return was }
func second(_, is int) int { return is }
func nothing(int, int) int {
	return slices.IndexFunc(forms, func(f form) bool { return f.name == "nothing" })
}

// Whatever a path turns into, a volume that another syncer keeps has that soon
// afterwards, and nothing of before; in both directions. A bucket that keeps
// versions remembers that a name was a file's; there MinIO lists nothing below
// it any more, so what is in a folder of that name is reported, as long as it
// is there, and is in nobody's way.
func TestSwapsFollowed(t *testing.T) {
	t.Parallel() // it waits for the next look at the bucket
	server := testenv.MinIO(t)
	for name, versioned := range map[string]bool{"plain bucket": false, "versioned bucket": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, server)
			l.bucket = server.NewBucket(t, versioned)
			one, other := l.node(), l.node()
			one.write("swap/bystander", "")
			one.write("elsewhere/untouched", "")
			one.start()
			other.restore()
			other.start()
			one.await("not alone", func(s status.Status) bool { return len(s.OtherWriters) == 1 })
			// turn makes each path what it is to be; the follower gets that.
			turn := func(n, follower *node, before, after choice) {
				t.Helper()
				each := func(visit func(path, was, is string, create func(*node, string))) {
					eachSwap(func(path string, i, j int) {
						was, is := before(i, j), after(i, j)
						if forms[i].name != "pipe" && forms[j].name != "pipe" {
							visit(path, forms[was].name, forms[is].name, forms[is].make)
						}
					})
				}
				each(func(path, _, _ string, create func(*node, string)) {
					l.check(os.RemoveAll(n.path(path)))
					create(n, path)
				})
				n.flush()
				want, hidden := n.describe(), map[string]string{}
				each(func(path, was, is string, _ func(*node, string)) {
					if !versioned || is != "folder" || was != "file" && was != "link" {
						return
					}
					for _, below := range []string{"", "/in", "/in/it", "/too"} {
						if want[path+below].Mode.IsRegular() {
							hidden[path+below] = "a file and a folder have this name"
						}
						delete(want, path+below)
					}
				})
				n.wantUnsyncable(hidden)
				follower.awaitVolume(want)
				for path := range hidden {
					l.check(os.RemoveAll(n.path(strings.Join(strings.Split(path, "/")[:2], "/"))))
				}
				n.flush()
				n.wantUnsyncable(nil)
			}
			turn(one, other, nothing, first)
			turn(one, other, first, second)
			turn(other, one, second, first)

			other.stop()
			one.stop()
			one.wantVolume(other.describe())
			if diff := cmp.Diff(one.inVolume(), one.inBucket()); diff != "" {
				t.Errorf("(- volume, + bucket):\n%s", diff)
			}
		})
	}
}

// awaitVolume waits until the volume is entry by entry as it should be.
func (n *node) awaitVolume(want map[string]entry) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		got, err := n.tryDescribe()
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it went while we looked
			n.t.Fatal(err)
		}
		diff := cmp.Diff(want, got)
		if err == nil && diff == "" {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("the volume never becomes as it should be (- wanted, + found, %v):\n%s", err, diff)
		}
	}
}
