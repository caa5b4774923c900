package tree

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

func TestOpenFile(t *testing.T) {
	v, dir := openTest(t)
	write(t, dir, "d/f", "hello", "e/", "")
	check(t, os.Symlink("d/f", dir+"/link"))
	check(t, unix.Mkfifo(dir+"/pipe", 0o644))
	sock, err := net.Listen("unix", dir+"/sock")
	check(t, err)
	defer sock.Close()
	old := time.Now().Add(-time.Hour)
	check(t, os.Chtimes(dir+"/d/f", old, old))

	f, err := v.OpenFile("d/f")
	check(t, err)
	b := make([]byte, 10)
	if n, err := f.ReadAt(b, 1); n != 4 || err != io.EOF || string(b[:n]) != "ello" {
		t.Errorf("%d %v %q", n, err, b)
	}
	l, err := f.Stat()
	if want := lookup(t, v, "d/f"); err != nil || l != want {
		t.Errorf("%+v, want %+v (%v)", l, want, err)
	}
	var st unix.Stat_t
	check(t, unix.Stat(dir+"/d/f", &st))
	if !time.Unix(st.Atim.Unix()).Equal(old) {
		t.Error("reading changed the access time")
	}
	// What is at the path by now is another matter.
	check(t, os.Remove(dir+"/d/f"))
	if n, _ := f.ReadAt(b, 0); n != 5 {
		t.Errorf("read %d bytes", n)
	}
	check(t, f.Close())
	if _, err := f.ReadAt(b, 0); err == nil {
		t.Error("read from a closed file")
	}

	for _, path := range []string{"link", "pipe", "sock", "e"} {
		_, err := v.OpenFile(path)
		wantErr(t, err, ErrNotRegular)
	}
	_, err = v.OpenFile("none")
	wantErr(t, err, os.ErrNotExist)
	_, err = v.OpenFile("../x")
	wantErr(t, err, ErrInvalidKey)
}

// Without Settle a second store through a mapping leaves no trace in the time
// stamps; with it, it does.
func TestSettleMakesMappedStoresShow(t *testing.T) {
	v, dir := openTest(t)
	var fs unix.Statfs_t
	check(t, unix.Statfs(dir, &fs))
	switch uint32(fs.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC:
	default:
		t.Skipf("the temporary folder's file system (%x) does not note mapped stores", fs.Type)
	}
	write(t, dir, "f", "0123456789")
	m, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
	check(t, err)
	defer m.Close()
	mem, err := unix.Mmap(int(m.Fd()), 0, 10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(t, err)
	defer unix.Munmap(mem)
	f, err := v.OpenFile("f")
	check(t, err)
	defer f.Close()
	stat := func() entry.Fingerprint {
		l, err := f.Stat()
		check(t, err)
		return l.Fingerprint
	}
	mem[0] = 'a' // the page is writable from here on
	for range 3 {
		check(t, f.Settle())
		before := stat()
		time.Sleep(tick)
		mem[1]++
		if stat() == before {
			t.Error("a mapped store after Settle did not change the fingerprint")
		}
	}
}

func TestRacy(t *testing.T) {
	v, dir := openTest(t)
	write(t, dir, "f", "x", "d/", "")
	f := lookup(t, v, "f").Fingerprint
	at := f.CTime.Std()
	for _, tt := range []struct {
		now  time.Time
		want bool
	}{{at, true}, {at.Add(5 * time.Millisecond), true}, {at.Add(time.Second), false}, {at.Add(-time.Second), false}} {
		if got := Racy(f, tt.now); got != tt.want {
			t.Errorf("%v later: %v", tt.now.Sub(at), got)
		}
	}
	if Racy(lookup(t, v, "d").Fingerprint, time.Now()) {
		t.Error("a folder is racy")
	}
}
