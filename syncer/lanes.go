package syncer

import "sync"

// lanes is how many paths are under way at once. It follows the store: one that
// says that it is busy gets half as many at a time, and for each round that it
// takes without a word one more again (additive increase, multiplicative
// decrease, as TCP has it; Chiu and Jain, 1989). What all of them hit at once is
// one word, not many: what was begun before the last change changes nothing.
type lanes struct {
	mu     sync.Mutex
	freed  *sync.Cond
	max    int
	limit  int
	inUse  int
	taken  int // by the store, since the last change
	change int // how many there were
}

func newLanes(most int) *lanes {
	l := &lanes{max: most, limit: most}
	l.freed = sync.NewCond(&l.mu)
	return l
}

// lane is one of them, in use.
type lane struct {
	of    *lanes
	since int // the change
}

// enter waits until one is free.
func (l *lanes) enter() lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.inUse >= l.limit {
		l.freed.Wait()
	}
	l.inUse++
	return lane{of: l, since: l.change}
}

// idle waits until none is in use.
func (l *lanes) idle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.inUse > 0 {
		l.freed.Wait()
	}
}

func (l *lanes) width() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit
}

// leave frees the lane. Call it once, last.
func (n lane) leave() {
	l := n.of
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inUse--
	l.freed.Broadcast()
}

// taken says that the store took what was sent.
func (n lane) taken() {
	l := n.of
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.since != l.change || l.limit == l.max {
		return
	}
	if l.taken++; l.taken >= l.limit {
		l.set(l.limit + 1)
		l.freed.Broadcast()
	}
}

// busy says that the store has too much to do.
func (n lane) busy() {
	l := n.of
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.since == l.change && l.limit > 1 {
		l.set(l.limit / 2)
	}
}

func (l *lanes) set(limit int) {
	l.limit, l.taken = limit, 0
	l.change++
}
