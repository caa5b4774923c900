package tree

import (
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

// passages are the directories that are being made on the way to an entry,
// until that is in them. For so long they are empty, or have not got their
// attributes, and whoever looks at them then would believe that they need an
// object of their own.
//
// A directory is among them from before it exists. So who opens it, finds it
// not to be among them, and then looks at it and reads it, sees the truth.
type passages struct {
	mu   sync.Mutex
	dirs map[string]int // by key; how many are making it
}

func (p *passages) has(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dirs[key] > 0
}

func (p *passages) enter(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirs == nil {
		p.dirs = map[string]int{}
	}
	p.dirs[key]++
}

func (p *passages) leave(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirs[key]--; p.dirs[key] == 0 {
		delete(p.dirs, key)
	}
}

// place is the directory that an entry will be in. It is to be closed when the
// entry is there, or will not be.
type place struct {
	beneath.Dir
	passages *passages
	made     []string // the directories that were made on the way
}

func (p *place) Close() {
	p.Dir.Close()
	for _, key := range p.made {
		p.passages.leave(key)
	}
	p.made = nil
}

// parentFor opens the directory that path will be in, made if missing, and
// returns it with the last segment of path.
func (t *Tree) parentFor(path string) (_ *place, base string, err error) {
	p := &place{passages: &t.passages}
	for range attempts {
		if p.Dir, base, err = t.root.Parent(path); err == nil {
			return p, base, nil
		}
		if err == unix.ENOENT {
			err = t.makeDir(above(path), p)
		}
		if blocks(err) {
			err = ErrBlocked
		}
		if err != nil && err != unix.ENOENT {
			p.Close()
			return nil, "", err
		}
	}
	p.Close()
	return nil, "", ErrChanged
}

func above(path string) string { return path[:strings.LastIndexByte(path, '/')] }

// makeDir makes the directory at path and those above it, where missing, on
// the way to p.
func (t *Tree) makeDir(path string, p *place) error {
	parent, base, err := t.root.Parent(path)
	if err == unix.ENOENT {
		if err := t.makeDir(above(path), p); err != nil {
			return err
		}
		parent, base, err = t.root.Parent(path)
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	t.making.Lock()
	defer t.making.Unlock()
	key := dirKey(path)
	t.passages.enter(key)
	if err := t.lend(parent.FD, func() error { return unix.Mkdirat(parent.FD, base, DefaultDirPerm) }); err != nil {
		t.passages.leave(key)
		if err == unix.EEXIST {
			return nil // made by another, or in the way: the next step tells
		}
		return err
	}
	p.made = append(p.made, key)
	fd, err := beneath.Child(parent.FD, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if err := beneath.Lstat(fd, "", &st); err != nil {
		return err
	}
	return t.dress(fd, &st, t.plain)
}
