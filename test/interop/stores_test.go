package interop

import (
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// aStore is one of the stores that docs/interoperability.md names, and in what
// it differs from the others. TestDocumentedStores holds the two together.
type aStore struct {
	column string // there
	start  func(testing.TB, ...testenv.Option) *testenv.Server
	// plainFolders: they come back with the usual mode and owner.
	plainFolders bool
	// noControl: names with such characters, most of them control characters,
	// are refused.
	noControl func(rune) bool
	// forgets: once the server is started again there are no attributes, no
	// links and no checksums any more.
	forgets bool
}

var stores = []aStore{
	{column: "MinIO", start: testenv.MinIO},
	{column: "versitygw (POSIX)", start: testenv.Versitygw, noControl: notXML},
	{column: "`rclone serve s3`", start: testenv.RcloneS3, plainFolders: true, noControl: rewritten, forgets: true},
}

func notXML(r rune) bool    { return r < ' ' && r != '\t' && r != '\n' && r != '\r' }
func rewritten(r rune) bool { return r < ' ' || r == '\x7f' || r == '\u201b' }

// TestDocumentedStores: what the page says of the three stores is what the
// tests of this file expect of them.
func TestDocumentedStores(t *testing.T) {
	text, err := os.ReadFile("../../docs/interoperability.md")
	if err != nil {
		t.Fatal(err)
	}
	cells := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if row := strings.Split(line, " | "); len(row) == 1+len(stores) {
			cells[strings.TrimPrefix(row[0], "| ")] = row[1:]
		}
	}
	for i, s := range stores {
		for row, no := range map[string]bool{
			"empty folders":                                        false,
			"mode and owner of folders":                            s.plainFolders,
			"names with control characters":                        s.noControl != nil,
			"… also once the server was started again":             s.forgets,
			"what rots on the server's disk is found by a restore": s.forgets,
		} {
			if len(cells[row]) == 0 {
				t.Errorf("there is no row %q", row)
				continue
			}
			cell := strings.TrimSuffix(strings.TrimSpace(cells[row][i]), " |")
			if yes := cell == "yes" || strings.HasPrefix(cell, "yes,"); yes == no {
				t.Errorf("%s: %s: the page says %q", s.column, row, cell)
			}
		}
	}
}

// refuses reports whether the store does not take names with this in it.
func (s *aStore) refuses(name string) bool {
	return s.noControl != nil && strings.ContainsFunc(name, s.noControl)
}

// back is what comes back of a volume that a restore brings from the store; if
// the store was started again meanwhile, then.
func (s *aStore) back(volume map[string]entry, again bool) map[string]entry {
	want := map[string]entry{}
	for name, e := range volume {
		usual := fs.FileMode(0)
		switch {
		case s.refuses(name):
			continue
		case e.Mode.IsDir() && s.plainFolders:
			usual = fs.ModeDir | 0o755
		case !e.Mode.IsDir() && again && s.forgets:
			usual = 0o644
			seconds, _, _ := strings.Cut(e.MTime, ".")
			e.MTime = seconds + ".000000000"
		}
		if usual != 0 {
			e.Mode, e.UID, e.GID = usual, uint32(os.Geteuid()), uint32(os.Getegid())
		}
		want[name] = e
	}
	return want
}

// Against every store the engine does all that it is there for: it restores
// nothing and everything, brings every sort of change into the bucket, is killed
// between an upload and its note of it and does nothing twice, and what it has
// brought there comes back, also after the server was started again, but for
// what is said of the store.
func TestStores(t *testing.T) {
	for _, s := range stores {
		t.Run(s.column, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, s.start(t))
			n := l.node()
			n.restore()
			n.wantVolume(map[string]entry{})
			n.furnish()
			n.start()
			step := func(name string, do func()) {
				t.Helper()
				do()
				n.flush()
				if err := n.rcloneCheck(); err != nil {
					t.Error(err)
				}
				if t.Failed() {
					t.Fatalf("after: %s", name)
				}
			}
			step("created", func() {
				n.write("moves/file", "moves")
				n.write("moves/folder/deep/er/file", "moves with its folder")
				n.write("goes/file", "goes")
				n.write("goes/folder/file", "goes with its folder")
				n.write("grows", "")
				eachSwap(func(path string, was, _ int) { makeForm(n, path, was) })
			})
			step("changed", func() {
				n.check(os.Rename(n.path("moves/file"), n.path("moved")))
				n.check(os.Rename(n.path("moves/folder"), n.path("moved folder")))
				n.check(os.Remove(n.path("goes/file")))
				n.check(os.RemoveAll(n.path("goes/folder"))) // and goes is empty now
				n.write("grows", strings.Repeat("now it goes in parts. ", 1<<20))
				n.write("large.bin", "now it does not")
				n.write("run.sh", "#!/bin/sh\necho its mode stays\n")
			})
			step("swapped", func() {
				eachSwap(func(path string, _, is int) {
					n.check(os.RemoveAll(n.path(path)))
					makeForm(n, path, is)
				})
			})

			want := map[string]string{}
			for _, tt := range names {
				if tt.reason != "" {
					continue
				}
				n.write("names/"+tt.name, tt.name)
				n.write("folders/"+tt.name+"/inside", tt.name)
				if s.refuses(tt.name) {
					want["names/"+tt.name], want["folders/"+tt.name+"/inside"] = "", ""
				}
			}
			n.flush()
			n.wantUnsyncable(want)
			for path := range want {
				n.check(os.Remove(n.path(path)))
			}
			for _, tt := range names {
				if s.refuses(tt.name) {
					n.check(os.Remove(n.path("folders/" + tt.name)))
				}
			}
			n.flush()
			n.wantUnsyncable(nil)

			n.killAfterCommit("small", "small")
			n.killAfterCommit("in parts", strings.Repeat("of a large file. ", 1<<20))
			n.flush()
			n.mustRun("verify")
			n.stop()

			volume := n.describe()
			to := l.node()
			to.restore()
			to.wantVolume(s.back(volume, false))
			objects := l.objects()
			to.start()
			to.stop()
			if diff := cmp.Diff(objects, l.objects()); diff != "" {
				t.Errorf("sync changed the bucket after a restore (- before, + after):\n%s", diff)
			}
			to.wantVolume(s.back(volume, false))

			l.server.Stop(t)
			l.server.Start(t)
			objects = l.objects()
			to.start() // a volume that is there already does not notice
			to.stop()
			to.wantVolume(s.back(volume, false))
			if diff := cmp.Diff(objects, l.objects()); diff != "" {
				t.Errorf("sync changed the bucket after the server was started again (- before, + after):\n%s", diff)
			}
			fresh := l.node()
			fresh.restore()
			fresh.wantVolume(s.back(volume, true))
		})
	}
}

// makeForm is one of forms that an object can be made of.
func makeForm(n *node, path string, i int) {
	if forms[i].name != "pipe" {
		forms[i].make(n, path)
	}
}

// killAfterCommit kills sync between the moment at which the store has the file
// and that at which sync knows, and starts it again. It must find out, and not
// upload it once more, nor take it for somebody else's.
func (n *node) killAfterCommit(name, content string) {
	n.t.Helper()
	way := newBetween(n.t, n.server)
	var commits atomic.Int64
	committed := make(chan struct{})
	way.answers(func(r *http.Response) {
		isCommit := r.Request.Method == http.MethodPost && r.Request.URL.Query().Has("uploadId") ||
			r.Request.Method == http.MethodPut && !r.Request.URL.Query().Has("uploadId")
		if path.Base(r.Request.URL.Path) != name || !isCommit || r.StatusCode != http.StatusOK {
			return
		}
		if commits.Add(1) == 1 {
			_ = n.process.Process.Kill()
			close(committed)
			panic(http.ErrAbortHandler) // the answer never arrives
		}
	})
	n.stop()
	n.endpoint = way.URL
	n.start()
	n.write(name, content)
	select {
	case <-committed:
	case <-time.After(patience):
		n.t.Fatalf("%s is never uploaded", name)
	}
	<-n.ended
	n.process = nil
	n.start()
	if c := commits.Load(); c != 1 {
		n.t.Errorf("%s was uploaded %d times", name, c)
	}
	for file := range n.describe() {
		if strings.Contains(file, ".conflict-") {
			n.t.Errorf("there is a conflict copy: %s", file)
		}
	}
	n.stop()
	n.endpoint = n.server.Endpoint
	n.start()
}

// TestRot: a bit flips on the disk of a store. A restore, which lists anew,
// finds that, before and after the server is started again, as far as the store
// keeps a checksum that long; where it does not, nobody can tell.
func TestRot(t *testing.T) {
	const mark = "these bytes will rot"
	for _, s := range stores {
		t.Run(s.column, func(t *testing.T) {
			t.Parallel()
			server := s.start(t)
			for _, again := range []bool{false, true} {
				for name, size := range map[string]int{"small": 1 << 10, "file": 1 << 20, "parts": 24 << 20} {
					l := newLab(t, server)
					from := l.node()
					content := slices.Repeat([]byte("0123456789abcdef"), size/16)
					copy(content[size/2:], mark)
					from.write(name, string(content))
					from.start()
					from.stop()
					if again {
						server.Stop(t)
						server.Start(t)
					}
					l.flip(name, mark)
					to := l.node()
					if !again || !s.forgets {
						to.wantDamaged(name)
						continue
					}
					to.restore()
					if to.describe()[name].Content == from.describe()[name].Content {
						t.Errorf("%s: the bit did not flip", name)
					}
				}
			}
		})
	}
}
