package watch

import (
	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// node is a directory.
type node struct {
	parent   *node // nil: the root, or dropped
	name     string
	children map[string]*node
	wd       int32 // 0: not watched
	// stale: something at or below it could not be looked up, because the path
	// led elsewhere at that moment.
	stale bool
}

// reconcile makes the picture of the entry name of parent right.
func (s *session) reconcile(parent *node, name string) {
	fd, err := s.revisit(parent, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		s.polled[parent] = err
		return
	}
	if fd < 0 {
		return
	}
	known := parent.children[name]
	child := s.adopt(parent, fd, name)
	unix.Close(fd)
	if child != nil && (child != known || child.stale) {
		s.explore(child)
	}
}

// explore reads the directory n, which is watched (but for the root, the first
// time), and all below, and watches what it finds. What cannot be watched is
// polled from then on.
func (s *session) explore(n *node) {
	for todo := []*node{n}; len(todo) > 0; {
		n, todo = todo[0], todo[1:]
		fd, err := s.revisit(n, unix.O_RDONLY|unix.O_DIRECTORY)
		if err == nil && fd < 0 {
			continue
		}
		if err == nil {
			todo, err = s.list(n, fd, todo)
			unix.Close(fd)
		}
		if err != nil {
			s.polled[n] = err
		} else {
			delete(s.polled, n)
		}
	}
}

// revisit opens the directory n by its path. If it is not there, or another
// directory is, n is marked as stale and the descriptor is -1.
func (s *session) revisit(n *node, flags int) (int, error) {
	path, ok := s.path(n)
	if !ok {
		return -1, nil
	}
	if n == s.top {
		fd, err := s.root.Open("", flags)
		if err == nil && n.wd == 0 {
			if n.wd, err = s.watch(fd); err == nil {
				s.byWD[n.wd] = n
				return fd, nil
			}
			unix.Close(fd)
		}
		return fd, err
	}
	fd, err := s.root.Open(path[:len(path)-1], flags)
	if absent(err) {
		s.mark(n)
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	wd, err := s.watch(fd)
	if err == nil && wd == n.wd {
		return fd, nil
	}
	unix.Close(fd)
	if err == nil {
		s.unwatchStranger(wd)
		s.mark(n)
	}
	return -1, err
}

// mark notes that something at n is still to be looked at, where the event
// that will lead to it is found: in every directory above.
func (s *session) mark(n *node) {
	for ; n != nil; n = n.parent {
		n.stale = true
	}
}

// list reads the directory n, open as fd, watches the directories in it, and
// adds them to todo.
func (s *session) list(n *node, fd int, todo []*node) ([]*node, error) {
	n.stale = false
	found := map[string]bool{}
	err := beneath.ReadDir(fd, s.buf, func(name []byte, typ beneath.Type) bool {
		if typ == beneath.TypeUnknown {
			var st unix.Statx_t
			if beneath.Lstat(fd, string(name), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
				typ = beneath.TypeDir
			}
		}
		if typ == beneath.TypeDir && (n != s.top || string(name) != s.w.opts.Reserved) {
			found[string(name)] = true
		}
		return true
	})
	if err != nil {
		return todo, err
	}
	for name, child := range n.children {
		if !found[name] {
			s.drop(child)
		}
	}
	for name := range found {
		if child := s.adopt(n, fd, name); child != nil {
			todo = append(todo, child)
		}
	}
	return todo, nil
}

// adopt watches the entry name of parent, which is open as dir, if it is a
// directory, and returns its node: the known one if it is the same directory.
// What cannot be watched is polled, and nil is returned.
func (s *session) adopt(parent *node, dir int, name string) *node {
	known := parent.children[name]
	fd, err := s.root.OpenAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if absent(err) {
		s.drop(known)
		return nil
	}
	var wd int32
	if err == nil {
		defer unix.Close(fd)
		wd, err = s.watch(fd)
	}
	if other := s.byWD[wd]; err == nil && other != nil {
		if other == known {
			return known
		}
		// The directory is known under another path, where it no longer is.
		s.drop(other)
		if _, ok := s.path(parent); !ok {
			return nil // the parent was below it, and has moved as well: an event will say so
		}
		wd, err = s.watch(fd)
	}
	s.drop(known)
	child := &node{parent: parent, name: name}
	if parent.children == nil {
		parent.children = map[string]*node{}
	}
	parent.children[name] = child
	if err != nil {
		s.polled[child] = err
		return nil
	}
	child.wd = wd
	s.byWD[wd] = child
	return child
}

// absent reports whether err says that there is no directory to watch: none at
// all, or a mount of another file system.
func absent(err error) bool {
	return err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP || err == unix.EXDEV
}

// watch asks for a watch, within the limit of the options.
func (s *session) watch(fd int) (int32, error) {
	wd, err := s.queue.add(fd)
	limit := s.w.opts.MaxWatches
	if err == nil && limit > 0 && s.byWD[wd] == nil && len(s.byWD) >= limit {
		s.queue.remove(wd)
		err = unix.ENOSPC
	}
	if err != nil {
		s.full = s.full || err == unix.ENOSPC
		return 0, err
	}
	return wd, nil
}

// unwatchStranger ends a watch that was only asked for to learn its number.
func (s *session) unwatchStranger(wd int32) {
	if s.byWD[wd] == nil {
		s.queue.remove(wd)
	}
}

// drop takes n, if not nil, and all below it out of the picture.
func (s *session) drop(n *node) {
	if n == nil || n == s.top {
		return
	}
	if n.parent != nil {
		delete(n.parent.children, n.name)
		n.parent = nil
	}
	for todo := []*node{n}; len(todo) > 0; {
		last := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if last.wd != 0 {
			delete(s.byWD, last.wd)
			s.queue.remove(last.wd)
			last.wd = 0
		}
		delete(s.polled, last)
		for _, child := range last.children {
			todo = append(todo, child)
		}
	}
}

// path is the path of n, "" or ending in '/'. ok is false if n was dropped.
func (s *session) path(n *node) (path string, ok bool) {
	size := 0
	for up := n; up != s.top; up = up.parent {
		if up == nil {
			return "", false
		}
		size += len(up.name) + 1
	}
	b := make([]byte, size)
	for up := n; up != s.top; up = up.parent {
		size--
		b[size] = '/'
		size -= len(up.name)
		copy(b[size:], up.name)
	}
	return string(b), true
}
