package watch

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A folder is made in a place whose path leads elsewhere when its event is
// handled, and back again when the events of that are: the picture of every
// folder above is right then, and yet the new one is not in it.
func TestFolderMadeWhileItsPathLedElsewhere(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(dir+"/a/p", 0o755))
	check(t, os.MkdirAll(dir+"/z/p", 0o755))
	w, err := New(dir, Options{})
	check(t, err)
	s, err := w.open()
	check(t, err)
	defer s.close()
	s.explore(s.top)
	exchange := func() {
		check(t, unix.Renameat2(unix.AT_FDCWD, dir+"/a", unix.AT_FDCWD, dir+"/z", unix.RENAME_EXCHANGE))
	}
	queued := func() []byte {
		buf := make([]byte, 64<<10)
		n, err := s.queue.f.Read(buf)
		check(t, err)
		return buf[:n]
	}

	check(t, os.MkdirAll(dir+"/a/p/x/y", 0o755))
	made := queued()
	exchange()
	check(t, s.handleAll(made))
	exchange()
	check(t, s.handleAll(queued()))

	watched := map[string]bool{}
	for _, n := range s.byWD {
		path, ok := s.path(n)
		if !ok {
			t.Error("a watch without a path")
		}
		watched[path] = true
	}
	for _, path := range []string{"", "a/", "a/p/", "a/p/x/", "a/p/x/y/", "z/", "z/p/"} {
		if !watched[path] {
			t.Errorf("%q is not watched", path)
		}
	}
	if len(watched) != 7 {
		t.Errorf("watched: %v", watched)
	}
}
