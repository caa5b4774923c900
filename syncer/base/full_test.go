package base

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// small is a folder with room for half a megabyte.
func small(t *testing.T) (dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a small file system")
	}
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// On a full disk a change is refused with the reason; what was acknowledged
// stays, can be read, and once there is room everything goes on.
func TestDiskFull(t *testing.T) {
	dir := small(t)
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { d.Close() }()
	acked := map[string]int{}
	write := func(n int) error {
		var list []string
		for i := range 20 {
			list = append(list, fmt.Sprintf("%04d/%02d", (n*7919)%1000, i))
		}
		results := make(chan error, len(list))
		for _, key := range list {
			d.Put(some(key, n), func(err error) {
				if err == nil {
					acked[key] = n
				}
				results <- err
			})
		}
		var failed error
		for range list {
			if err := <-results; err != nil {
				failed = err
			}
		}
		return failed
	}
	check := func(when string) {
		t.Helper()
		if d.Len() != int64(len(acked)) {
			t.Fatalf("%s: %d entries, %d were acknowledged", when, d.Len(), len(acked))
		}
		for key, n := range acked {
			if e, err := d.Get(key); err != nil || e == nil || *e != some(key, n) {
				t.Fatalf("%s: %s is %+v, %v; change %d was acknowledged", when, key, e, err, n)
			}
		}
	}

	ballast := filepath.Join(dir, "ballast")
	n := 0
	for round := range 6 {
		err := os.WriteFile(ballast, make([]byte, round*40<<10), 0o600)
		if err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		refused, from := 0, n
		for ; refused < 5; n++ {
			if n-from > 1500 {
				t.Fatalf("round %d: the disk never fills", round)
			}
			if err := write(n); errors.Is(err, unix.ENOSPC) && errors.Is(err, ErrUnwritable) {
				refused++
			} else if err != nil {
				t.Fatalf("error %v does not say that the disk is full", err)
			}
			if refused == 1 {
				check("full")
			}
		}
		if round%2 == 1 { // a restart while it is full
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if d, err = Open(dir); err != nil {
				t.Fatal(err)
			}
			if d.PutAside != "" {
				t.Fatalf("round %d: the full disk damaged the base", round)
			}
			check("reopened")
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if err := d.Reset(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		clear(acked)
		for range 3 {
			n++
			if err := write(n); err != nil {
				t.Fatalf("round %d: there is room again, and %v", round, err)
			}
		}
		check("room again")
	}
}

// TestUploadsOnFullDisk: what is about to be uploaded is known to this process,
// though it cannot be written down; it is once there is room. A new start on a
// full disk finds what was written before.
func TestUploadsOnFullDisk(t *testing.T) {
	dir := small(t)
	d := reopen(t, nil, dir)
	d.Begin(about("before", 1))
	if err := d.Writable(); err != nil {
		t.Fatalf("there is room, and %v", err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	const more = 1000 // more than there is room for in a page that is begun
	for i := range int64(more) {
		d.Begin(about(fmt.Sprint("full/", i), i))
	}
	if got := len(d.IntentKeys()); got != 1+more {
		t.Errorf("%d uploads are known, want %d", got, 1+more)
	}
	if err := d.Writable(); !errors.Is(err, ErrUnwritable) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	if d = reopen(t, d, dir); !slices.Contains(d.IntentKeys(), "before") {
		t.Errorf("a start on a full disk knows of %q", d.IntentKeys())
	}
	d.Begin(about("after", 2))
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := d.Writable(); err != nil {
		t.Errorf("there is room again, and %v", err)
	}
	d.intents.failed = d.intents.failed.Add(-rewriteAgain) // time passes
	d.Begin(about("at last", 3))
	d = reopen(t, d, dir)
	for _, key := range []string{"before", "after", "at last"} {
		if len(d.Intents(key)) != 1 {
			t.Errorf("the upload of %s is not written down: %q", key, d.IntentKeys())
		}
	}
}
