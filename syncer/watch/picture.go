package watch

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// node is a directory.
type node struct {
	parent   *node // nil: the root, or dropped
	name     string
	children map[string]*node
	wd       int32 // 0: not watched
}

// child is the node of the entry name of n, made if missing.
func (n *node) child(name string) *node {
	if c := n.children[name]; c != nil {
		return c
	}
	if n.children == nil {
		n.children = map[string]*node{}
	}
	c := &node{parent: n, name: name}
	n.children[name] = c
	return c
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

// reconcile makes the picture of the entry name of parent right: if a
// directory is there that is not the known one, it is watched with all below.
func (s *session) reconcile(parent *node, name, path string) error {
	known := parent.children[name]
	fd, err := s.root.Open(path, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		wd, err := s.watch(fd)
		unix.Close(fd)
		if err == nil && known != nil && known.wd == wd {
			return nil
		}
		if err == nil && s.byWD[wd] == nil {
			s.queue.remove(wd) // explore adds it again, on its way down
		}
	} else if absent(err) {
		s.drop(known)
		return nil
	}
	s.drop(known)
	return s.explore(parent.child(name))
}

// absent reports whether err says that there is no directory to watch: none at
// all, or a mount of another file system.
func absent(err error) bool {
	return err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP || err == unix.EXDEV
}

// explore watches n and every directory below it. What cannot be watched is
// polled from then on. An error means that the root is gone.
func (s *session) explore(n *node) error {
	todo := []*node{n}
	for len(todo) > 0 {
		n, todo = todo[0], todo[1:]
		path, ok := s.path(n)
		if !ok {
			continue
		}
		if path != "" {
			path = path[:len(path)-1]
		}
		fd, err := s.root.Open(path, unix.O_RDONLY|unix.O_DIRECTORY)
		if err == nil {
			todo, err = s.enter(n, fd, todo)
			unix.Close(fd)
		}
		switch {
		case err == nil:
			delete(s.polled, n)
		case n == s.top && absent(err):
			return fmt.Errorf("%w: %w", errRootGone, err)
		case absent(err):
			s.drop(n) // it went away, and an event will say so
		default:
			s.polled[n] = err
		}
	}
	return nil
}

// enter watches the directory n, open as fd, and adds those in it to todo.
func (s *session) enter(n *node, fd int, todo []*node) ([]*node, error) {
	wd, err := s.watch(fd)
	if err != nil {
		return todo, err
	}
	if other := s.byWD[wd]; other != nil && other != n {
		// The directory is known under another path, where it no longer is.
		s.drop(other)
		if _, ok := s.path(n); !ok {
			return todo, nil // n was below it: that will have an event as well
		}
		if wd, err = s.watch(fd); err != nil {
			return todo, err
		}
	}
	if n.wd != 0 && n.wd != wd {
		s.forget(n.wd)
	}
	n.wd = wd
	s.byWD[wd] = n
	return s.list(n, fd, todo)
}

// list reads the directory n, open as fd, and adds those in it to todo.
func (s *session) list(n *node, fd int, todo []*node) ([]*node, error) {
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
		todo = append(todo, n.child(name))
	}
	return todo, nil
}

// watch asks for a watch within the limit of the options.
func (s *session) watch(fd int) (int32, error) {
	wd, err := s.queue.add(fd)
	if err != nil {
		return 0, err
	}
	limit := s.w.opts.MaxWatches
	if limit > 0 && s.byWD[wd] == nil && len(s.byWD) >= limit {
		s.queue.remove(wd)
		return 0, unix.ENOSPC
	}
	return wd, nil
}

func (s *session) forget(wd int32) {
	delete(s.byWD, wd)
	s.queue.remove(wd)
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
			s.forget(last.wd)
			last.wd = 0
		}
		delete(s.polled, last)
		for _, child := range last.children {
			todo = append(todo, child)
		}
	}
}
