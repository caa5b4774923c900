package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// session is the picture of the tree that belongs to one inotify instance.
// All of it is used by one goroutine.
type session struct {
	w     *Watcher
	queue *queue
	dir   *os.File // the root
	root  *beneath.Root
	top   *node
	byWD  map[int32]*node
	// polled are the directories that could not be watched. Nothing below
	// them is in the picture.
	polled map[*node]error
	buf    []byte
}

// node is a directory.
type node struct {
	parent   *node // nil: the root, or dropped
	name     string
	children map[string]*node
	wd       int32 // 0: not watched
}

func (w *Watcher) open() (*session, error) {
	fd, err := unix.Open(w.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: open %s: %w", errRootGone, w.root, err)
	}
	dir := os.NewFile(uintptr(fd), w.root)
	q, err := w.openQueue()
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &session{
		w: w, queue: q, dir: dir, root: beneath.New(fd),
		top: &node{}, byWD: map[int32]*node{}, polled: map[*node]error{},
		buf: make([]byte, 32<<10),
	}, nil
}

func (s *session) close() {
	s.queue.f.Close()
	s.dir.Close()
}

// run reports events until ctx ends or the picture is lost.
func (s *session) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	batches, handled := make(chan []byte), make(chan struct{})
	failed := make(chan error, 1)
	var reader sync.WaitGroup
	reader.Go(func() { failed <- s.read(ctx, batches, handled) })
	defer reader.Wait()
	defer s.queue.f.Close()
	defer stop()

	ticker := time.NewTicker(s.w.opts.PollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-ticker.C:
			if err := s.poll(); err != nil {
				return err
			}
		case batch := <-batches:
			if err := s.handleAll(batch); err != nil {
				return err
			}
			s.report()
			handled <- struct{}{}
		}
	}
}

// read hands what the kernel has queued to run, batch by batch.
func (s *session) read(ctx context.Context, batches chan<- []byte, handled <-chan struct{}) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.queue.f.Read(buf)
		if err != nil {
			return fmt.Errorf("read file events: %w", err)
		}
		select {
		case batches <- buf[:n]:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-handled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *session) handleAll(batch []byte) error {
	for len(batch) > 0 {
		ev, rest, err := parse(batch)
		if err != nil {
			return err
		}
		if err := s.handle(ev); err != nil {
			return err
		}
		batch = rest
	}
	return nil
}

func (s *session) handle(ev raw) error {
	if ev.has(unix.IN_Q_OVERFLOW) {
		s.w.overflow.Add(1)
		return errOverflow
	}
	n := s.byWD[ev.wd]
	if n == nil {
		return nil // of a watch that was dropped since
	}
	if n == s.top && ev.has(unix.IN_IGNORED|unix.IN_UNMOUNT|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) {
		return errRootGone
	}
	if ev.has(unix.IN_IGNORED) {
		delete(s.byWD, ev.wd)
		n.wd = 0
		return nil
	}
	if ev.name == "" || n == s.top && ev.name == s.w.opts.Reserved {
		return nil // what concerns a directory itself its parent tells as well
	}
	dir, ok := s.path(n)
	if !ok {
		return nil
	}
	if ev.has(unix.IN_DELETE|unix.IN_MOVED_FROM) && dir != "" {
		s.w.pending.path(dir[:len(dir)-1]) // it may be empty now
	}
	path := dir + ev.name
	if !ev.has(unix.IN_ISDIR) {
		s.w.pending.path(path)
		return nil
	}
	if err := s.reconcile(n, ev.name, path); err != nil {
		return err
	}
	if ev.has(unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO) {
		s.w.pending.subtree(path + "/")
	} else {
		s.w.pending.path(path)
	}
	return nil
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

// poll reports the directories that are not watched, tries again to watch
// them, and checks that the volume's path still leads to the root.
func (s *session) poll() error {
	var here, there unix.Statx_t
	if err := beneath.Lstat(s.root.FD(), "", &here); err != nil {
		return fmt.Errorf("%w: %w", errRootGone, err)
	}
	err := unix.Statx(unix.AT_FDCWD, s.w.root, 0, unix.STATX_BASIC_STATS, &there)
	if err != nil || here.Ino != there.Ino || !beneath.SameDevice(&here, &there) {
		return errors.Join(errRootGone, err)
	}
	again := make([]*node, 0, len(s.polled))
	for n := range s.polled {
		again = append(again, n)
	}
	full := false
	for _, n := range again {
		path, ok := s.path(n)
		if !ok {
			continue
		}
		if !full {
			if err := s.explore(n); err != nil {
				return err
			}
			full = errors.Is(s.polled[n], unix.ENOSPC)
		}
		s.w.pending.subtree(path)
	}
	s.report()
	return nil
}

// report tells the watcher how many directories are polled, and why.
func (s *session) report() {
	var worst error
	for _, err := range s.polled {
		if worst == nil || errors.Is(err, unix.ENOSPC) {
			worst = err
		}
		if errors.Is(err, unix.ENOSPC) {
			break
		}
	}
	if worst == nil {
		s.w.degrade("", 0)
		return
	}
	s.w.degrade(explain(worst), len(s.polled))
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
