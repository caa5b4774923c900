package tree

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// maxOpen is how many directories one scan keeps open. Those further up are
// opened again when the scan comes back to them, so that a tree may be deeper
// than there are descriptors.
const maxOpen = 64

// Scan yields every entry at and below the directory dir, "" or "a/b/", in
// byte order of Key. The reserved folder is left out.
//
// A directory is yielded, with a '/' at the end of its Key, if it needs an
// object of its own: it is empty, or it does not look like [Tree.Defaults].
// Any other is implied by what is in it. A directory that cannot be read, or
// where another file system is mounted, is yielded as Opaque with a Reason.
// Special files are yielded as such. If dir is no directory nothing is yielded.
//
// A scan that ends without an error is complete: each path that existed
// during the whole scan was yielded. What comes, goes or changes kind
// meanwhile may be yielded or not. The first error ends the scan; that the
// volume is no longer the one that was opened is one, [ErrReplaced].
//
// Memory is that of the names in the directories on the way to the current
// one.
func (t *Tree) Scan(ctx context.Context, dir string) iter.Seq2[entry.Local, error] {
	return func(yield func(entry.Local, error) bool) {
		s := &walk{t: t, ctx: ctx, yield: yield, buf: make([]byte, 64<<10)}
		defer s.close()
		if err := s.run(dirKey(dir)); err != nil && err != errStopped {
			yield(entry.Local{}, fmt.Errorf("scan %s: %w", t.join(dir), wrap(err)))
		}
	}
}

func (t *Tree) join(key string) string { return strings.TrimSuffix(t.path+"/"+key, "/") }

type stopped struct{}

func (stopped) Error() string { return "the consumer wants no more" }

// errStopped ends a scan whose consumer left the loop.
var errStopped = stopped{}

// walk is one scan. It is depth first, with a stack of its own: neither the
// goroutine's stack nor PATH_MAX nor the number of descriptors bounds the depth.
type walk struct {
	t     *Tree
	ctx   context.Context
	yield func(entry.Local, error) bool
	buf   []byte
	stack []frame
	open  int // the lowest frame that has its descriptor open
}

// frame is a directory that is being walked.
type frame struct {
	fd    int // -1: closed for now
	ino   uint64
	key   string // "" or "a/b/"
	names []string
	next  int
}

func (s *walk) run(dir string) error {
	if err := s.t.present(); err != nil {
		return err
	}
	if err := s.begin(dir); err != nil {
		return err
	}
	for len(s.stack) > 0 {
		f := &s.stack[len(s.stack)-1]
		if f.next == len(f.names) {
			s.pop()
			continue
		}
		name := f.names[f.next]
		f.next++
		if f.next%256 == 0 && s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		if err := s.visit(f, name); err != nil {
			return err
		}
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	// An unmounted or emptied volume reads like one whose files were deleted.
	return s.t.present()
}

func (s *walk) begin(dir string) error {
	if dir == "" {
		fd, err := s.t.root.Open("", unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		return s.push(fd, "", nil, false)
	}
	if err := ValidKey(dir); err != nil {
		return err
	}
	parent, name, err := s.t.root.Parent(entry.Path(dir))
	if err == nil {
		defer parent.Close()
		err = s.enter(parent.FD, name, dir)
	}
	switch err {
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
		return nil
	case unix.EACCES:
		return s.emit(opaque(dir, nil, "the directory cannot be read: "+err.Error()))
	case unix.EXDEV:
		return s.emit(opaque(dir, nil, ReasonMount))
	}
	return err
}

// visit yields one entry of the directory f, or goes down into it. An entry
// that is gone, or that became a directory or ceased to be one since the
// directory was read, is left out: at that moment its key did not exist.
func (s *walk) visit(f *frame, name string) error {
	fd, err := s.descriptor(f)
	if err != nil {
		return err
	}
	if fd < 0 {
		return nil
	}
	if entry.IsDir(name) {
		err := s.enter(fd, entry.Path(name), f.key+name)
		if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
			return nil
		}
		return err
	}
	var st unix.Statx_t
	switch err := beneath.Lstat(fd, name, &st); err {
	case nil:
	case unix.ENOENT:
		return nil
	case unix.EACCES, unix.EIO, unix.ESTALE:
		// Something is there, and the directory says that it is no directory.
		l := entry.Local{Key: f.key + name, Reason: "it cannot be looked at: " + err.Error()}
		l.Kind = entry.Special
		return s.emit(l)
	default:
		return fmt.Errorf("%s%s: %w", f.key, name, err)
	}
	if fileKind(st.Mode) == entry.Dir {
		return nil
	}
	l := makeLocal(f.key+name, &st)
	if l.Kind == entry.Symlink {
		l.Target, err = readlink(fd, name, l.Size)
		if err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", l.Key, err)
		}
	}
	return s.emit(l)
}

// enter yields the directory name if it needs that, and makes it the one that
// is walked next.
func (s *walk) enter(parent int, name, key string) error {
	fd, l, passing, err := s.t.enter(parent, name, key, nil)
	if err != nil {
		return err
	}
	if fd < 0 {
		return s.emit(l)
	}
	return s.push(fd, key, &l, passing)
}

// push reads the open directory fd and puts it on the stack. dir is its own
// entry, nil for the root; passing is as [Tree.enter] has it.
func (s *walk) push(fd int, key string, dir *entry.Local, passing bool) error {
	var st unix.Statx_t
	names, err := s.read(fd, key)
	if err == nil {
		err = beneath.Lstat(fd, "", &st)
	}
	if err != nil {
		unix.Close(fd)
		if dir == nil {
			return err
		}
		return s.emit(opaque(key, nil, "the directory cannot be read: "+err.Error()))
	}
	if dir != nil && !passing && (len(names) == 0 || !dir.Attrs.SameDir(s.t.plain)) {
		if err := s.emit(*dir); err != nil {
			unix.Close(fd)
			return err
		}
	}
	s.stack = append(s.stack, frame{fd: fd, ino: st.Ino, key: key, names: names})
	if len(s.stack)-s.open > maxOpen {
		f := &s.stack[s.open]
		unix.Close(f.fd)
		f.fd = -1
		s.open++
	}
	return nil
}

// read lists a directory in key order: directories sort as if their names
// ended in '/', which they get here.
func (s *walk) read(fd int, key string) ([]string, error) {
	var names []string
	var bad error
	err := beneath.ReadDir(fd, s.buf, func(name []byte, typ beneath.Type) bool {
		if key == "" && string(name) == reservedName {
			return true
		}
		n := string(name)
		if typ == beneath.TypeUnknown {
			var st unix.Statx_t
			if bad = beneath.Lstat(fd, n, &st); bad == unix.ENOENT {
				bad = nil
				return true
			}
			if bad != nil {
				return false
			}
			if fileKind(st.Mode) == entry.Dir {
				typ = beneath.TypeDir
			}
		}
		if typ == beneath.TypeDir {
			n += "/"
		}
		names = append(names, n)
		return true
	})
	if err == nil {
		err = bad
	}
	slices.Sort(names)
	return names, err
}

// descriptor is f's descriptor, opened again if it was closed on the way down;
// -1 where the directory is gone.
func (s *walk) descriptor(f *frame) (int, error) {
	if f.fd >= 0 {
		return f.fd, nil
	}
	fd, err := s.t.root.Open(entry.Path(f.key), unix.O_RDONLY|unix.O_DIRECTORY)
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("%s: %w", f.key, err)
	}
	var st unix.Statx_t
	if err := beneath.Lstat(fd, "", &st); err != nil || st.Ino != f.ino {
		unix.Close(fd)
		return -1, fmt.Errorf("%s: %w", f.key, ErrChanged)
	}
	f.fd = fd
	s.open = len(s.stack) - 1
	return fd, nil
}

// pop leaves the topmost directory. If the one above was closed, the way up is
// the quick way to open it again.
func (s *walk) pop() {
	last := len(s.stack) - 1
	fd := s.stack[last].fd
	s.stack = s.stack[:last]
	s.open = min(s.open, last)
	if fd < 0 {
		return
	}
	if last > 0 && s.open == last {
		s.reopen(&s.stack[last-1], fd, "..")
	}
	unix.Close(fd)
}

// reopen opens f's directory as name relative to at, if it still is the one
// that was read.
func (s *walk) reopen(f *frame, at int, name string) {
	fd, err := beneath.Child(at, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	var st unix.Statx_t
	if beneath.Lstat(fd, "", &st) != nil || st.Ino != f.ino || !beneath.SameDevice(&st, &s.t.self) {
		unix.Close(fd)
		return
	}
	f.fd = fd
	s.open--
}

func (s *walk) emit(l entry.Local) error {
	if !s.yield(l, nil) {
		return errStopped
	}
	return nil
}

func (s *walk) close() {
	for len(s.stack) > 0 {
		s.pop()
	}
}
