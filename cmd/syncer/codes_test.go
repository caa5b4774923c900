package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// ends runs a command to its end and returns its exit code and its last words.
func (p *pod) ends(args ...string) (code int, last string) {
	p.t.Helper()
	p.command = p.run(args...)
	p.do(p.command.Start())
	return p.endsWithin(patience)
}

// successor is a pod of the same bucket whose volume is empty.
func (p *pod) successor() *pod {
	next := newPod(p.t, p.server, p.endpoint)
	next.bucket = p.bucket
	return next
}

// says checks that a text has all that a person needs.
func says(t *testing.T, where, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: it does not say %q: %s", where, part, text)
		}
	}
}

// nothingHalf checks that nothing is left of what could not be completed.
func (p *pod) nothingHalf() {
	p.t.Helper()
	left, err := filepath.Glob(filepath.Join(p.volume, ".minio-sidecar", "tmp", "*", "*"))
	if err != nil || len(left) > 0 {
		p.t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestRestoreIntoSmallVolume: what does not fit is said by code and by sentence,
// and no file is there that is not whole. With room it goes on.
func TestRestoreIntoSmallVolume(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a file system")
	}
	server := testenv.MinIO(t)
	from := newPod(t, server, server.Endpoint)
	files := map[string][]byte{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		files[name] = bytes.Repeat([]byte(name), 2<<20)
		from.do(os.WriteFile(filepath.Join(from.volume, name), files[name], 0o644))
	}
	from.sync()
	from.mustStop()

	to := from.successor()
	mount := func(flags uintptr, options string) {
		to.do(syscall.Mount("tmpfs", to.volume, "tmpfs", flags, options))
	}
	mount(0, "size=7m")
	t.Cleanup(func() { to.do(syscall.Unmount(to.volume, syscall.MNT_DETACH)) })
	code, last := to.ends("restore")
	if code != contract.ExitVolumeFull {
		t.Errorf("exit code %d, want %d", code, contract.ExitVolumeFull)
	}
	sentence := []string{"the files of the bucket need 12 MiB in all, of which ", " are there, and the volume has ", " left",
		"make the volume larger (size-limit)"}
	says(t, "log", to.logged(), sentence...)
	says(t, "termination message", last, append(sentence, "(exit code 7)")...)
	whole := 0
	for name, want := range files {
		switch got, err := os.ReadFile(filepath.Join(to.volume, name)); {
		case errors.Is(err, os.ErrNotExist):
		case err != nil || !bytes.Equal(got, want):
			t.Errorf("%s has %d of %d bytes, %v", name, len(got), len(want), err)
		default:
			whole++
		}
	}
	if whole == len(files) {
		t.Error("everything fits")
	}
	to.nothingHalf()

	mount(syscall.MS_REMOUNT, "size=64m")
	if code, last := to.ends("restore"); code != contract.ExitOK || last != "" {
		t.Errorf("with room: exit code %d: %s", code, last)
	}
	to.verify()
}

// TestDamagedObject: a byte has flipped on the store's disk. A restore and a
// verify end with a code of its own and name the key, and the file does not come
// back with another content.
func TestDamagedObject(t *testing.T) {
	const rotten, content = "deep/rotten.txt", "this content will rot. "
	server := testenv.MinIO(t)
	begin := func(t *testing.T) *pod {
		p := newPod(t, server, server.Endpoint)
		p.do(os.Mkdir(filepath.Join(p.volume, "deep"), 0o755))
		p.do(os.WriteFile(filepath.Join(p.volume, rotten), bytes.Repeat([]byte(content), 20_000), 0o644))
		p.do(os.WriteFile(filepath.Join(p.volume, "sound"), []byte("sound"), 0o644))
		p.sync()
		p.mustStop()
		flip(t, filepath.Join(server.DataDir, p.bucket, rotten), "will rot")
		return p
	}
	t.Run("restore", func(t *testing.T) {
		to := begin(t).successor()
		for range 2 { // as Kubernetes does; the store may have dropped the object by then
			code, last := to.ends("restore")
			if code != contract.ExitDamaged {
				t.Errorf("exit code %d, want %d", code, contract.ExitDamaged)
			}
			says(t, "log", to.logged(), rotten)
			says(t, "termination message", last, rotten, "restore an older version of that object", "(exit code 6)")
			if _, err := os.Lstat(filepath.Join(to.volume, rotten)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("there is something at %s: %v", rotten, err)
			}
			to.nothingHalf()
		}
	})
	t.Run("verify", func(t *testing.T) {
		p := begin(t)
		if code, _ := p.ends("verify"); code != contract.ExitDamaged {
			t.Errorf("exit code %d, want %d", code, contract.ExitDamaged)
		}
		says(t, "output", p.logged(), rotten+": the object is damaged", "folder and bucket differ at 1 path; 1 object damaged")
	})
}

// flip changes a bit behind mark in the files in which MinIO keeps an object.
func flip(t *testing.T, dir, mark string) {
	t.Helper()
	flipped := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		at := bytes.Index(content, []byte(mark))
		if err != nil || at < 0 {
			return err
		}
		content[at] ^= 1
		flipped++
		return os.WriteFile(path, content, 0o600)
	})
	if err != nil || flipped == 0 {
		t.Fatalf("flipped a bit in %d files below %s: %v", flipped, dir, err)
	}
}

// TestNoMetricsPort: a syncer that is to serve no metrics listens on no port.
func TestNoMetricsPort(t *testing.T) {
	server := testenv.MinIO(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	p := newPod(t, server, server.Endpoint)
	for address, want := range map[string]bool{"0": false, "127.0.0.1:" + port: true} {
		p.sync("--metrics-address=" + address)
		if got := listens(t, p.command.Process.Pid); got != want {
			t.Errorf("with the address %s it listens on a port: %v", address, got)
		}
		p.mustStop()
	}
}

// listens reports whether a process has a listening TCP socket; see proc_pid_net(5).
func listens(t *testing.T, pid int) bool {
	t.Helper()
	mine := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		t.Fatalf("process %d has no files: %v", pid, err)
	}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil {
			mine[target] = true
		}
	}
	const listening, state, inode = "0A", 3, 9
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if errors.Is(err, os.ErrNotExist) {
			continue // no IPv6 here
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > inode && f[state] == listening && mine["socket:["+f[inode]+"]"] {
				return true
			}
		}
	}
	return false
}
