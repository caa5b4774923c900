package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

func TestScanOrderAndKinds(t *testing.T) {
	v, dir := openTest(t)
	write(t, dir, "a/x", "1", "a-b", "22", "a.txt", "", "a0", "", "b/", "", "c/d/", "", "z", "", "new\nline", "", "\xff\xfe", "", "a/.minio-sidecar/f", "")
	check(t, os.Symlink("../../outside", dir+"/link"))
	check(t, os.Symlink("a", dir+"/linkdir"))
	check(t, unix.Mkfifo(dir+"/pipe", 0o644))
	sock, err := net.Listen("unix", dir+"/sock")
	check(t, err)
	defer sock.Close()

	all := scan(t, v, "")
	want := []string{"a-b", "a.txt", "a/.minio-sidecar/f", "a/x", "a0", "b/", "c/d/", "link", "linkdir", "new\nline", "pipe", "sock", "z", "\xff\xfe"}
	if got := keys(all); !slices.Equal(got, want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
	by := map[string]entry.Local{}
	for _, l := range all {
		by[l.Key] = l
	}
	for key, kind := range map[string]entry.Kind{
		"a/x": entry.File, "b/": entry.Dir, "link": entry.Symlink, "linkdir": entry.Symlink, "pipe": entry.Special, "sock": entry.Special,
	} {
		if by[key].Kind != kind {
			t.Errorf("%s is a %v", key, by[key].Kind)
		}
	}
	if by["link"].Target != "../../outside" || by["link"].Size != 13 {
		t.Errorf("link: %+v", by["link"])
	}
	if by["pipe"].Reason == "" || by["sock"].Reason == "" {
		t.Error("special files without a reason")
	}
	if by["b/"].Fingerprint != (entry.Fingerprint{Kind: entry.Dir}) {
		t.Errorf("a folder's fingerprint is more than its kind: %+v", by["b/"].Fingerprint)
	}
	if by["a-b"].Size != 2 || by["a-b"].Inode == 0 || by["a-b"].CTime.Sec == 0 || by["a-b"].Links != 1 {
		t.Errorf("a-b: %+v", by["a-b"])
	}
}

func TestScanOfAFolder(t *testing.T) {
	v, dir := openTest(t)
	write(t, dir, "a/b/c", "", "a/b/d/e", "", "a/b2", "", "a/e/", "", "file", "")
	check(t, os.Symlink("a", dir+"/link"))
	check(t, os.Chmod(dir+"/a/b", 0o700))
	for _, tt := range []struct {
		dir  string
		want []string
	}{
		{"a/b/", []string{"a/b/", "a/b/c", "a/b/d/e"}},
		{"a/b", []string{"a/b/", "a/b/c", "a/b/d/e"}},
		{"a/e/", []string{"a/e/"}},
		{"a/b/d/", []string{"a/b/d/e"}},
		{"none/", nil}, {"none/none/", nil}, {"file/", nil}, {"file/x/", nil}, {"link/", nil}, {"link/b/", nil},
	} {
		if got := keys(scan(t, v, tt.dir)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.dir, got, tt.want)
		}
	}
	for _, bad := range []string{"../", "/", ".minio-sidecar/", "a//", "a/../"} {
		var last error
		for l, err := range v.Scan(t.Context(), bad) {
			if last = err; err == nil {
				t.Errorf("%s yields %s", bad, l.Key)
			}
		}
		wantErr(t, last, ErrInvalidKey)
	}
}

func TestWhichFoldersNeedAnObject(t *testing.T) {
	v, dir := openTest(t)
	write(t, dir, "plain/f", "", "empty/", "", "mode/f", "", "sticky/f", "", "owner/f", "")
	check(t, os.Chmod(dir+"/mode", 0o700))
	check(t, os.Chmod(dir+"/sticky", 0o755|fs.ModeSticky))
	want := []string{"empty/", "mode/", "mode/f", "plain/f", "sticky/", "sticky/f"}
	if os.Geteuid() == 0 {
		check(t, os.Chown(dir+"/owner", 4321, -1))
		want = append(want, "owner/")
	}
	want = append(want, "owner/f")
	slices.Sort(want)
	if got := keys(scan(t, v, "")); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, key := range []string{"plain", "empty", "mode", "sticky"} {
		l, marked, ok, err := v.Lookup(key)
		if err != nil || !ok || l.Kind != entry.Dir || l.Key != key+"/" || marked != (key != "plain") {
			t.Errorf("%s: %+v marked=%v ok=%v err=%v", key, l, marked, ok, err)
		}
	}
}

func TestScanUnreadableFolder(t *testing.T) {
	v, dir := openTest(t)
	check(t, os.Chmod(dir, 0o755))
	write(t, dir, "a", "", "closed/f", "", "listable/f", "", "z", "")
	check(t, os.Chmod(dir+"/closed", 0o311))
	check(t, os.Chmod(dir+"/listable", 0o644))
	t.Cleanup(func() { os.Chmod(dir+"/closed", 0o755); os.Chmod(dir+"/listable", 0o755) })
	// The way down, as far as it is the test's own: never the machine's /tmp.
	for p := dir; len(p) > len(filepath.Clean(os.TempDir())); p = filepath.Dir(p) {
		os.Chmod(p, 0o755)
	}
	unprivileged(t, func() {
		all := scan(t, v, "")
		if got := keys(all); !slices.Equal(got, []string{"a", "closed/", "listable/", "z"}) {
			t.Errorf("got %q", got)
			return
		}
		for _, l := range all[1:3] {
			if l.Kind != entry.Opaque || !strings.Contains(l.Reason, "permission denied") {
				t.Errorf("%+v", l)
			}
		}
		if l, marked, ok, err := v.Lookup("closed"); l.Kind != entry.Opaque || !marked || !ok || err != nil {
			t.Errorf("lookup: %+v %v %v %v", l, marked, ok, err)
		}
		// Not "nothing there": it is not known.
		if _, _, ok, err := v.Lookup("listable/f"); err == nil || ok {
			t.Errorf("lookup below an unreadable folder: ok=%v err=%v", ok, err)
		}
		if all := scan(t, v, "closed/"); len(all) != 1 || all[0].Kind != entry.Opaque {
			t.Errorf("scan of it: %+v", all)
		}
		if all := scan(t, v, "listable/sub/"); len(all) != 1 || all[0].Kind != entry.Opaque {
			t.Errorf("scan below it: %+v", all)
		}
	})
}

// What is mounted below is another file system's: nothing can be renamed into
// it, and when it is unmounted its files are not deleted.
func TestMountPointIsOpaque(t *testing.T) {
	v, dir := openTest(t)
	write(t, dir, "m/", "", "n/f", "", "z", "")
	if err := unix.Mount("none", dir+"/m", "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("may not mount:", err)
	}
	t.Cleanup(func() { check(t, unix.Unmount(dir+"/m", 0)) })
	write(t, dir, "m/inside", "x", "m/sub/deep", "")
	all := scan(t, v, "")
	if got := keys(all); !slices.Equal(got, []string{"m/", "n/f", "z"}) || all[0].Kind != entry.Opaque {
		t.Errorf("got %+v", all)
	}
	if _, _, ok, err := v.Lookup("m/inside"); ok || err == nil {
		t.Errorf("lookup beyond the mount: ok=%v err=%v", ok, err)
	}
	_, err := commit(t, v, "m/new", "x", nil)
	wantErr(t, err, ErrBlocked)
	_, err = commit(t, v, "m/sub/new", "x", nil)
	wantErr(t, err, ErrBlocked)
	_, err = v.Mkdir("m", v.Defaults())
	wantErr(t, err, ErrBlocked)
	wantErr(t, v.Remove("m/", entry.Fingerprint{Kind: entry.Dir}), ErrBlocked)
	if all := scan(t, v, "m/sub/"); len(all) != 1 || all[0].Kind != entry.Opaque {
		t.Errorf("scan beyond the mount: %+v", all)
	}
}

// Deeper than PATH_MAX allows to name, and than there are descriptors.
func TestScanDeepTree(t *testing.T) {
	for name, stepwise := range map[string]bool{"openat2": false, "stepwise": true} {
		t.Run(name, func(t *testing.T) {
			v, dir := openTest(t)
			v.root.Stepwise(stepwise)
			const levels, segment = 1200, "deep-down"
			fd, err := unix.Open(dir, unix.O_PATH, 0)
			check(t, err)
			for range levels {
				check(t, unix.Mkdirat(fd, segment, 0o755))
				// A file that sorts after the folder, so that the scan comes back.
				f, err := unix.Openat(fd, "file", unix.O_CREAT|unix.O_WRONLY, 0o644)
				check(t, err)
				unix.Close(f)
				next, err := unix.Openat(fd, segment, unix.O_PATH, 0)
				check(t, err)
				unix.Close(fd)
				fd = next
			}
			unix.Close(fd)
			t.Cleanup(func() { removeDeep(t, dir, segment) })

			all := scan(t, v, "")
			if len(all) != levels+1 {
				t.Fatalf("%d entries", len(all))
			}
			deepest := strings.Repeat(segment+"/", levels)
			if all[0].Key != deepest || all[1].Key != deepest[:len(deepest)-len(segment)-1]+"file" {
				t.Errorf("deepest is %d bytes long", len(all[0].Key))
			}
			l, _, ok, err := v.Lookup(all[1].Key)
			if err != nil || !ok || l.Kind != entry.File {
				t.Errorf("lookup: %v %v", ok, err)
			}
			f, err := v.OpenFile(all[1].Key)
			check(t, err)
			f.Close()
		})
	}
}

// removeDeep removes what os.RemoveAll takes quadratic time for.
func removeDeep(t *testing.T, dir, segment string) {
	var fds []int
	fd, err := unix.Open(dir, unix.O_PATH, 0)
	for err == nil {
		fds = append(fds, fd)
		if len(fds) > 500 { // move the rest up, to where names are short
			break
		}
		fd, err = unix.Openat(fd, segment, unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	again := err == nil && unix.Renameat(fds[len(fds)-1], segment, fds[0], "rest") == nil
	for i := len(fds) - 1; i >= 0; i-- {
		_ = unix.Unlinkat(fds[i], "file", 0)
		_ = unix.Unlinkat(fds[i], segment, unix.AT_REMOVEDIR)
		unix.Close(fds[i])
	}
	if again {
		check(t, os.Rename(dir+"/rest", dir+"/"+segment))
		removeDeep(t, dir, segment)
	}
}

func TestScanWhileEverythingMoves(t *testing.T) {
	v, dir := openTest(t)
	write(t, dir, "stays/a", "", "stays/z", "", "zz", "")
	stop := make(chan struct{})
	var app sync.WaitGroup
	app.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			d := fmt.Sprintf("%s/d%d", dir, i%7)
			os.MkdirAll(d+"/x/y", 0o755)
			os.WriteFile(d+"/x/y/f", nil, 0o644)
			os.Rename(d+"/x", fmt.Sprintf("%s/m%d", dir, i%5))
			os.WriteFile(d+"/x", nil, 0o644) // a file where a folder was
			os.RemoveAll(fmt.Sprintf("%s/m%d", dir, (i+2)%5))
			os.RemoveAll(fmt.Sprintf("%s/d%d", dir, (i+3)%7))
		}
	})
	for range 300 {
		found := keys(scan(t, v, ""))
		for _, want := range []string{"stays/a", "stays/z", "zz"} {
			if !slices.Contains(found, want) {
				t.Errorf("%s is missing from %q", want, found)
			}
		}
	}
	close(stop)
	app.Wait()
}

func TestScanStops(t *testing.T) {
	v, dir := openTest(t)
	for i := range 600 {
		write(t, dir, fmt.Sprintf("d/%04d", i), "")
	}
	n := 0
	for _, err := range v.Scan(t.Context(), "") {
		check(t, err)
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("went on to %d", n)
	}
	gone := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	var last error
	for _, err := range v.Scan(ctx, "") {
		last = err
	}
	wantErr(t, last, gone)
}

// A scan finds what WalkDir finds, in key order.
func TestScanFindsAll(t *testing.T) {
	v, dir := openTest(t)
	name := rapid.SampledFrom([]string{"a", "b", "a-", "a.", "a0", "A", "é", " ", "a b"})
	rapid.Check(t, func(r *rapid.T) {
		names, _ := os.ReadDir(dir)
		for _, n := range names {
			if n.Name() != ".minio-sidecar" {
				os.RemoveAll(dir + "/" + n.Name())
			}
		}
		for range rapid.IntRange(0, 25).Draw(r, "entries") {
			path := dir + "/" + strings.Join(rapid.SliceOfN(name, 1, 4).Draw(r, "path"), "/")
			if rapid.Bool().Draw(r, "folder") {
				os.MkdirAll(path, 0o755)
			} else if os.MkdirAll(filepath.Dir(path), 0o755) == nil {
				os.WriteFile(path, nil, 0o644)
			}
		}
		var want []string
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			rel := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
			switch {
			case rel == "":
			case rel == ".minio-sidecar":
				return fs.SkipDir
			case !d.IsDir():
				want = append(want, rel)
			default:
				if below, _ := os.ReadDir(path); len(below) == 0 {
					want = append(want, rel+"/")
				}
			}
			return nil
		})
		slices.Sort(want)
		var got []string
		for l, err := range v.Scan(context.Background(), "") {
			if err != nil {
				r.Fatal(err)
			}
			got = append(got, l.Key)
			found, marked, ok, err := v.Lookup(l.Key)
			if err != nil || !ok || !marked || found.Key != l.Key || found.Fingerprint != l.Fingerprint {
				r.Fatalf("lookup of %q: %+v %v %v %v", l.Key, found, marked, ok, err)
			}
		}
		if !slices.Equal(got, want) {
			r.Fatalf("got  %q\nwant %q", got, want)
		}
	})
}

func TestLookupTraversesNothing(t *testing.T) {
	v, dir := openTest(t)
	outside := t.TempDir()
	write(t, outside, "secret", "x")
	write(t, dir, "in/f", "x", "file", "x")
	check(t, os.Symlink(outside, dir+"/out"))
	check(t, os.Symlink("in", dir+"/alias"))
	check(t, os.Symlink("/", dir+"/rootlink"))
	check(t, os.Symlink("loop", dir+"/loop"))
	for name, stepwise := range map[string]bool{"openat2": false, "stepwise": true} {
		t.Run(name, func(t *testing.T) {
			v.root.Stepwise(stepwise)
			for _, path := range []string{"out/secret", "alias/f", "rootlink/etc/passwd", "loop/x", "file/x", "none", "none/none", "in/none"} {
				if l, _, ok, err := v.Lookup(path); ok || err != nil {
					t.Errorf("%s: %+v ok=%v err=%v", path, l, ok, err)
				}
				if f, err := v.OpenFile(path); err == nil {
					f.Close()
					t.Errorf("%s was opened", path)
				}
			}
			if l := lookup(t, v, "out"); l.Kind != entry.Symlink || l.Target != outside {
				t.Errorf("the link itself: %+v", l)
			}
			if l := lookup(t, v, "in/f"); l.Kind != entry.File {
				t.Errorf("in/f: %+v", l)
			}
			for _, path := range []string{"", "../x", "/etc/passwd", "in/../file", ".minio-sidecar/volume"} {
				_, _, _, err := v.Lookup(path)
				wantErr(t, err, ErrInvalidKey)
			}
		})
	}
}
