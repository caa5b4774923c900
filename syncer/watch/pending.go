package watch

import (
	"strings"
	"sync"
)

// pending is what the consumer has not taken yet. Its size is bounded: too
// many paths of one folder become the folder, too much in all becomes the
// whole volume.
type pending struct {
	// wake gets a value when there may be something to take.
	wake chan struct{}

	mu        sync.Mutex
	maxPerDir int
	maxTotal  int
	all       bool
	folders   map[string]*folder // by path, "" or ending in '/'
	order     []string           // of folders, the oldest first
	total     int
}

// folder is what is dirty in one folder.
type folder struct {
	subtree bool                // everything at and below it
	names   map[string]struct{} // else these entries
}

func (f *folder) size() int { return max(1, len(f.names)) }

func newPending(maxPerDir, maxTotal int) *pending {
	return &pending{
		wake: make(chan struct{}, 1), maxPerDir: maxPerDir, maxTotal: maxTotal,
		folders: map[string]*folder{},
	}
}

// path makes one path dirty.
func (p *pending) path(path string) {
	cut := strings.LastIndexByte(path, '/') + 1
	dir, name := path[:cut], path[cut:]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.covered(dir) {
		return
	}
	f := p.folder(dir)
	if _, known := f.names[name]; known {
		return
	}
	if f.names == nil {
		f.names = map[string]struct{}{}
	}
	p.total -= f.size()
	f.names[name] = struct{}{}
	if len(f.names) > p.maxPerDir {
		f.subtree, f.names = true, nil
	}
	p.total += f.size()
	p.bound(dir, f)
}

// subtree makes a folder, "" or ending in '/', and all below it dirty.
func (p *pending) subtree(dir string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.covered(dir) {
		return
	}
	f := p.folder(dir)
	p.total -= f.size()
	f.subtree, f.names = true, nil
	p.total += f.size()
	p.bound(dir, f)
}

// covered reports whether dir or a folder above it is dirty as a whole.
func (p *pending) covered(dir string) bool {
	if p.all {
		return true
	}
	for i := range len(dir) {
		if dir[i] == '/' {
			if f := p.folders[dir[:i+1]]; f != nil && f.subtree {
				return true
			}
		}
	}
	return false
}

func (p *pending) folder(dir string) *folder {
	f := p.folders[dir]
	if f == nil {
		f = &folder{}
		p.folders[dir] = f
		p.order = append(p.order, dir)
		p.total += f.size()
	}
	return f
}

// bound collapses what is too much, and wakes the delivery.
func (p *pending) bound(dir string, f *folder) {
	if dir == "" && f.subtree || p.total > p.maxTotal {
		p.all, p.folders, p.order, p.total = true, map[string]*folder{}, nil, 0
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take removes and returns the oldest hint.
func (p *pending) take() (Event, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all {
		p.all = false
		return Event{Kind: Subtree}, true
	}
	if len(p.order) == 0 {
		return Event{}, false
	}
	dir := p.order[0]
	f := p.folders[dir]
	p.total -= f.size()
	if f.subtree {
		p.drop(dir)
		return Event{Path: dir, Kind: Subtree}, true
	}
	var name string
	for name = range f.names {
		break
	}
	delete(f.names, name)
	if len(f.names) == 0 {
		p.drop(dir)
	} else {
		p.total += f.size()
	}
	return Event{Path: dir + name, Kind: Path}, true
}

func (p *pending) drop(dir string) {
	delete(p.folders, dir)
	p.order = p.order[1:]
	if len(p.order) == 0 {
		p.order = nil
	}
}
