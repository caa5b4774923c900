package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mask is what is asked of every watched directory. IN_MODIFY tells of files
// that stay open, such as logs; IN_CLOSE_WRITE comes when a writer is done.
// IN_EXCL_UNLINK: nothing of files that are deleted but still open.
const mask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF |
	unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// errNoInstance: the user has as many inotify instances as it may.
var errNoInstance = errors.New("no inotify instance")

// queue is an inotify instance.
type queue struct {
	fd int
	f  *os.File // reads of it wait in the runtime's poller; Close ends them
}

func openQueue() (*queue, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == unix.EMFILE {
		return nil, fmt.Errorf("%w: %w", errNoInstance, err)
	}
	if err != nil {
		return nil, fmt.Errorf("start inotify: %w", err)
	}
	return &queue{fd: fd, f: os.NewFile(uintptr(fd), "inotify")}, nil
}

// add watches the open directory dir and returns the watch's number: a new
// one, or that which this instance has for the directory already. By the
// descriptor and not by a path, so that it is certain which directory it is.
func (q *queue) add(dir int) (int32, error) {
	wd, err := unix.InotifyAddWatch(q.fd, fmt.Sprintf("/proc/self/fd/%d", dir), mask)
	return int32(wd), err
}

// remove ends a watch. One that the kernel has ended itself is no error.
func (q *queue) remove(wd int32) { _, _ = unix.InotifyRmWatch(q.fd, uint32(wd)) }

// raw is one event as the kernel tells it.
type raw struct {
	wd   int32
	mask uint32
	name string // of the entry; empty for the directory itself
}

func (r raw) has(bits uint32) bool { return r.mask&bits != 0 }

// headerSize is that of struct inotify_event without the name: four 32-bit
// words, of which the third is the cookie that pairs the halves of a rename.
const headerSize = unix.SizeofInotifyEvent

// parse takes the first event off b.
func parse(b []byte) (ev raw, rest []byte, err error) {
	if len(b) < headerSize {
		return raw{}, nil, fmt.Errorf("read file events: %d bytes are no event", len(b))
	}
	size := int64(binary.NativeEndian.Uint32(b[12:])) + headerSize
	if size > int64(len(b)) {
		return raw{}, nil, fmt.Errorf("read file events: an event of %d bytes in %d", size, len(b))
	}
	name := b[headerSize:size] // padded with NUL
	if end := bytes.IndexByte(name, 0); end >= 0 {
		name = name[:end]
	}
	return raw{
		wd:   int32(binary.NativeEndian.Uint32(b)),
		mask: binary.NativeEndian.Uint32(b[4:]),
		name: string(name),
	}, b[size:], nil
}
