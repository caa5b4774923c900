package base

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// On a full disk a change is refused with the reason; what was acknowledged
// stays, can be read, and once there is room everything goes on.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
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
			if err := write(n); errors.Is(err, unix.ENOSPC) {
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
