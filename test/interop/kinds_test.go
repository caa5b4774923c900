package interop

import (
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// Everything that a volume can hold comes back entry by entry, or is reported.
func TestKinds(t *testing.T) {
	l := newLab(t, testenv.MinIO(t))
	from := l.node()

	for name, target := range map[string]string{
		"dangling": "nowhere", "absolute": "/etc/passwd", "climbing": "../../../../../../etc", "self": "self",
		"ping": "pong", "pong": "ping", "folder": "../times", "spaces": " a  b ", "bytes": "not UTF-8 \xff\n",
		"long": strings.Repeat("../", 1364) + "abc", // 4,095 bytes: all that Linux takes
	} {
		from.write("links/beside", "")
		l.check(os.Symlink(target, from.path("links/"+name)))
	}
	l.check(unix.Lutimes(from.path("links/self"), []unix.Timeval{{Sec: 1}, {Sec: 86400, Usec: 250000}}))

	for name, when := range map[string]time.Time{
		"nanoseconds": time.Unix(1700000000, 1), "last nanosecond": time.Unix(1700000000, 999999999),
		"1970": time.Unix(0, 0), "1969": time.Unix(-1, 999999999), "1901": time.Unix(math.MinInt32, 500),
		"2038": time.Unix(math.MaxInt32+1, 7), "2106": time.Unix(math.MaxUint32+1, 7), "2400": time.Unix(13569465600, 123),
	} {
		from.write("times/"+name, name)
		l.check(unix.UtimesNanoAt(unix.AT_FDCWD, from.path("times/"+name), []unix.Timespec{
			{Sec: 1}, {Sec: when.Unix(), Nsec: int64(when.Nanosecond())}}, 0))
	}

	for _, mode := range []uint32{0, 0o400, 0o777, 0o4755, 0o2755, 0o1644, 0o6711, 0o7777} {
		path := from.path(fmt.Sprintf("modes/%04o", mode))
		from.write("modes/"+filepath.Base(path), "x")
		l.check(os.MkdirAll(path+" folder", 0o755))
		if os.Geteuid() == 0 {
			l.check(os.Chown(path, 1234, 5678))
			l.check(os.Chown(path+" folder", 1234, 5678))
		}
		l.check(unix.Chmod(path, mode))
		if os.Geteuid() == 0 { // who may look into any folder
			l.check(unix.Chmod(path+" folder", mode))
		}
	}

	l.check(os.MkdirAll(from.path("empty/of/everything"), 0o755))
	from.write("hard/one", "the same")
	l.check(os.Link(from.path("hard/one"), from.path("hard/two")))
	l.check(os.Link(from.path("hard/one"), from.path("three")))
	from.sparse("sparse/large", 48<<20, 20<<20)
	from.sparse("sparse/small", 4<<20, 1<<20)
	from.sparse("sparse/nothing", 30<<20, -1)

	l.check(syscall.Mkfifo(from.path("special-fifo"), 0o644))
	socket, err := net.Listen("unix", from.path("special-socket"))
	l.check(err)
	defer socket.Close()
	unsyncable := map[string]string{
		"special-fifo": "a named pipe cannot be stored", "special-socket": "a socket cannot be stored",
	}
	if os.Geteuid() == 0 && syscall.Mknod(from.path("special-device"), syscall.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) == nil {
		unsyncable["special-device"] = "a device cannot be stored"
	}

	from.start()
	from.wantUnsyncable(unsyncable)
	s, err := from.status()
	l.check(err)
	if s.HardLinks != 3 || !strings.Contains(strings.Join(s.Notes, "\n"), "3 paths are hard links") {
		t.Errorf("status counts %d hard links, and says %q", s.HardLinks, s.Notes)
	}
	if text := from.mustRun("status"); !strings.Contains(text, "3 paths are hard links: each is an object of its own") {
		t.Errorf("status does not tell a person of hard links:\n%s", text)
	}
	if s.Pending > 0 {
		t.Errorf("pending: %+v", s.PendingPaths)
	}

	to := l.node()
	to.restore()
	want := from.describe()
	for path := range unsyncable {
		delete(want, path)
	}
	to.wantVolume(want)
	for path := range want {
		if strings.HasPrefix(path, "sparse/") {
			if had, has := from.blocks(path), to.blocks(path); has > had+16 {
				t.Errorf("%s took %d blocks, and takes %d now", path, had, has)
			}
		}
	}

	// What cannot be synced goes, and is no longer reported.
	l.check(socket.Close()) // removes it
	for path := range unsyncable {
		_ = os.Remove(from.path(path)) // the socket is gone
	}
	l.check(os.Remove(from.path("hard/two")))
	l.check(os.Remove(from.path("three")))
	from.flush()
	from.wantUnsyncable(nil)
	if s, err := from.status(); err != nil || s.HardLinks != 0 || len(s.Notes) > 0 {
		t.Errorf("status still speaks of hard links: %d, %q, %v", s.HardLinks, s.Notes, err)
	}
	from.stop()
}

// sparse writes a file that is a hole but for a MiB at a place (none: -1).
func (n *node) sparse(path string, size, at int64) {
	n.t.Helper()
	n.write(path, "")
	f, err := os.OpenFile(n.path(path), os.O_RDWR, 0)
	n.check(err)
	defer f.Close()
	n.check(f.Truncate(size))
	if at >= 0 {
		_, err = f.WriteAt([]byte(strings.Repeat("data", 1<<18)), at)
		n.check(err)
	}
	n.check(f.Sync()) // blocks are allocated when they are written out
}

func (n *node) blocks(path string) int64 {
	n.t.Helper()
	f, err := os.Open(n.path(path))
	n.check(err)
	defer f.Close()
	n.check(f.Sync())
	var st unix.Stat_t
	n.check(unix.Fstat(int(f.Fd()), &st))
	return st.Blocks
}

// What the syncer may not read is reported, in nobody's way, and synced once
// it may be read.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root can be somebody else")
	}
	const nobody = 65534
	l := newLab(t, testenv.MinIO(t))
	n := l.node()
	n.user = nobody
	for _, dir := range []string{n.volume, n.state, l.credentials} {
		l.check(filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, nobody, nobody)
		}))
	}
	// t.TempDir's folders are their owner's alone.
	for dir := filepath.Dir(n.volume); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		l.check(os.Chmod(dir, 0o755))
	}
	n.write("open", "for all")
	n.write("secret", "for root")
	n.write("locked/inside", "a locked folder")
	n.write("listed/inside", "a folder whose names can be read, and no more")
	l.check(os.Chmod(n.path("secret"), 0o600))
	l.check(os.Chmod(n.path("locked"), 0o700))
	l.check(os.Chmod(n.path("listed"), 0o744))
	n.start()
	n.wantUnsyncable(map[string]string{
		"secret": "permission denied", "locked/": "cannot be read", "listed/": "cannot be read",
	})
	wantObjects := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, n.fileObjects()); diff != "" {
			t.Errorf("objects (- wanted, + found):\n%s", diff)
		}
	}
	wantObjects("open")

	l.check(os.Chmod(n.path("secret"), 0o644))
	l.check(os.Chmod(n.path("locked"), 0o755))
	l.check(os.Chmod(n.path("listed"), 0o755))
	n.await("free of what it may not read", func(s status.Status) bool { return s.Unsyncable == 0 && s.Pending == 0 })
	n.awaitEqual()
	wantObjects("listed/inside", "locked/inside", "open", "secret")

	// And locked again: what is in the bucket stays there.
	l.check(os.Chmod(n.path("locked"), 0o700))
	l.check(os.Chmod(n.path("secret"), 0o600))
	n.flush()
	n.stop()
	wantObjects("listed/inside", "locked/inside", "open", "secret")
}
