// Package watch turns the kernel's file events into hints: paths, or whole
// folders, that are worth a look. It says where to look, never what is there,
// and may name too much, but whatever changes is named, at the latest by the
// next poll where the kernel lets it down.
//
// # inotify, directly
//
// A watch belongs to a directory, not to a path, and stays with it when it is
// renamed. fsnotify 1.10 keeps watches by path. Asked to watch a directory
// under its new name while it has not yet read that the old one is gone, it
// answers with the old watch, and then drops that: in a test on Linux 6.18, of
// 200 directories that were renamed, 149 fell silent and the subdirectories of
// all 200 went on reporting under their old names. It also follows symbolic
// links, cannot go deeper than PATH_MAX, and says nothing of files being
// closed. So this package speaks to inotify itself, in some hundred lines.
//
// # State, not events
//
// An event names a directory and an entry in it, and is old when it is read.
// So an event about a subdirectory is never taken at its word: the watcher
// opens what is there now, compares the watch that the kernel keeps for it with
// the one that it knows, and if they differ drops what it knows of that branch
// and walks it anew. Since every later change has a later event, the watcher's
// picture ends up right whatever the order. Every walk adds the watch before it
// reads the directory.
//
// A directory can only be opened by a path that may lead to another one by
// now, and back again a moment later. So an entry is only ever looked up in a
// directory whose watch shows that it is the one that is meant. If it is not,
// some directory above was renamed; it is marked as stale, and the event of that
// rename, which is yet to come, has it walked again.
//
// # Cost
//
// The kernel keeps about 1 KiB for each watched directory on 64-bit machines
// (the watch, and the inode that it pins), charged to the user and limited by
// fs.inotify.max_user_watches; the watcher itself about 150 bytes. Files cost
// nothing. What an app writes through a shared mapping raises no event at all.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Hint says how far an event reaches.
type Hint uint8

const (
	// Path: this path is dirty. It may be a file, a directory (of which only
	// its own attributes and whether it is empty), or gone.
	Path Hint = iota + 1
	// Subtree: this folder and everything below it is dirty.
	Subtree
)

// Event is one hint. The path is relative to the root, with '/' between
// segments; that of a Subtree ends in '/', or is empty for the whole volume.
type Event struct {
	Path string
	Kind Hint
}

// Options of a [Watcher]. Zero values stand for the defaults.
type Options struct {
	// Reserved is the name of an entry of the root that is ignored with all
	// that is in it. A '/' at its end does not matter.
	Reserved string
	Logger   *slog.Logger
	// PollInterval is how often folders that cannot be watched are reported as
	// dirty, and watching them is tried again; and how often the root's path is
	// checked. 30 s.
	PollInterval time.Duration
	// MaxPerDir is how many paths of one folder may be waiting for the
	// consumer before they are collapsed to the folder. 512.
	MaxPerDir int
	// MaxPending is how many paths and folders may be waiting in all before
	// they are collapsed to the whole volume. 16,384.
	MaxPending int
	// MaxWatches is how many folders are watched at most, if the kernel allows
	// as many. 0: no limit.
	MaxWatches int
}

// Watcher watches one volume. Make it with [New], then call Run.
type Watcher struct {
	root     string
	opts     Options
	log      *slog.Logger
	events   chan Event
	ready    chan struct{}
	pending  *pending
	overflow atomic.Uint64

	mu     sync.Mutex
	reason string
	dirs   int

	// openQueue makes the inotify instance; tests have it fail.
	openQueue func() (*queue, error)
}

// New makes a watcher of the directory root. Nothing is watched before Run.
func New(root string, opts Options) (*Watcher, error) {
	var st unix.Stat_t
	if err := unix.Stat(root, &st); err != nil {
		return nil, fmt.Errorf("watch %s: %w", root, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, fmt.Errorf("watch %s: %w", root, unix.ENOTDIR)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.PollInterval <= 0 {
		opts.PollInterval = 30 * time.Second
	}
	if opts.MaxPerDir <= 0 {
		opts.MaxPerDir = 512
	}
	if opts.MaxPending <= 0 {
		opts.MaxPending = 16384
	}
	opts.Reserved = strings.TrimSuffix(opts.Reserved, "/")
	return &Watcher{
		root:      root,
		opts:      opts,
		log:       opts.Logger,
		events:    make(chan Event),
		ready:     make(chan struct{}),
		pending:   newPending(opts.MaxPerDir, opts.MaxPending),
		openQueue: openQueue,
	}, nil
}

// Events are the hints, until Run ends and closes the channel. A slow consumer
// loses none: they collapse to fewer that reach further.
func (w *Watcher) Events() <-chan Event { return w.events }

// Ready is closed when everything that can be watched is being watched for the
// first time, or when Run ends. What changes after that is reported; what
// changed before is for the caller's own scan to find.
func (w *Watcher) Ready() <-chan struct{} { return w.ready }

// Degraded says why some folders are polled instead of watched, and how many
// (not counting those below them). An empty reason: none are.
func (w *Watcher) Degraded() (reason string, dirs int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason, w.dirs
}

// Overflows is how often the kernel dropped events because they were not read
// quickly enough. Each is followed by a Subtree event for the whole volume.
func (w *Watcher) Overflows() uint64 { return w.overflow.Load() }

// The ways in which a session ends before its time.
var (
	errOverflow = errors.New("the kernel dropped events")
	errRootGone = errors.New("the volume's directory was removed, renamed or unmounted")
)

// rootInterval is how often a volume that went away is looked for. That costs
// one system call, and nothing of the volume is heard until it is found.
const rootInterval = time.Second

// Run watches until ctx ends, and returns its error. It is called once.
func (w *Watcher) Run(ctx context.Context) error {
	var delivery sync.WaitGroup
	delivery.Go(func() { w.deliver(ctx) })
	defer func() {
		delivery.Wait()
		close(w.events)
	}()
	isReady := sync.OnceFunc(func() { close(w.ready) })
	defer isReady()

	// Each session is one inotify instance that has the whole tree walked once.
	// When the picture is lost, a new session is the way to a new one; its end
	// of the walk is followed by a scan of everything. Only the first needs
	// none: the caller waits for it and then scans.
	for first := true; ctx.Err() == nil; first = false {
		err := w.session(ctx, func() {
			if !first {
				w.pending.subtree("")
			}
			isReady()
		})
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errOverflow) {
			w.log.Warn("file events came faster than they could be read; scanning everything", "raise", "fs.inotify.max_queued_events")
			continue
		}
		w.degrade(explain(err), 1)
		w.pending.subtree("")
		isReady()
		pause := w.opts.PollInterval
		if errors.Is(err, errRootGone) {
			pause = min(pause, rootInterval)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return ctx.Err()
}

// session opens the volume, watches it, calls walked, and reports events until
// ctx ends or the picture is lost.
func (w *Watcher) session(ctx context.Context, walked func()) error {
	s, err := w.open()
	if err != nil {
		return err
	}
	defer s.close()
	s.explore(s.top)
	s.report()
	walked()
	return s.run(ctx)
}

// deliver hands what is pending to the consumer.
func (w *Watcher) deliver(ctx context.Context) {
	for {
		ev, ok := w.pending.take()
		if !ok {
			select {
			case <-w.pending.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case w.events <- ev:
		case <-ctx.Done():
			return
		}
	}
}

// degrade notes the state of watching, and says so when it changes.
func (w *Watcher) degrade(reason string, dirs int) {
	w.mu.Lock()
	before := w.reason
	w.reason, w.dirs = reason, dirs
	w.mu.Unlock()
	switch {
	case reason == before:
	case reason == "":
		w.log.Info("all folders are watched again")
	default:
		w.log.Warn("some folders cannot be watched; they are scanned at intervals instead",
			"reason", reason, "folders", dirs, "interval", w.opts.PollInterval)
	}
}

// explain says what an error means to the person who runs the machine.
func explain(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "the limit of watched folders is reached: raise the sysctl fs.inotify.max_user_watches on the node"
	case errors.Is(err, errNoInstance):
		return "the limit of inotify instances is reached: raise the sysctl fs.inotify.max_user_instances on the node"
	case errors.Is(err, unix.EACCES):
		return "no permission to read some folders"
	}
	return err.Error()
}
