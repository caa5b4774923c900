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
	full   bool // the limit of watches was met since the last poll
	buf    []byte
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
			select {
			case handled <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
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
	s.reconcile(n, ev.name)
	if ev.has(unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO) {
		s.w.pending.subtree(path + "/")
	} else {
		s.w.pending.path(path)
	}
	return nil
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
	s.full = false
	for _, n := range again {
		path, ok := s.path(n)
		if !ok {
			continue
		}
		switch {
		case s.full: // nor for the others, then
		case n.wd == 0 && n != s.top:
			s.reconcile(n.parent, n.name)
		default:
			s.explore(n)
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
