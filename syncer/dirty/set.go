// Package dirty holds the paths that may differ between volume and bucket,
// and decides when each is looked at: a path that was touched waits until it
// has been quiet for a while, a failed one until its backoff is over, a
// deletion until it is let go.
package dirty

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

const (
	// quietMin lets a finished file leave at once; it is longer than the tick
	// with which kernels stamp files (10 ms at the most), so that a write
	// after the read cannot hide in the same tick.
	quietMin = 25 * time.Millisecond
	// quietMax is for paths that keep changing.
	quietMax = 4 * time.Second
	// RestlessAfter is how long a path may be touched again and again before
	// it is looked at without having been quiet. Two such looks tell a log
	// from other files, so a log is published once a minute.
	RestlessAfter = 30 * time.Second

	// folderHeat makes a folder wait some 400 ms: most are empty, and would
	// need an object of their own, only until their first file is there.
	folderHeat = 4

	retryMin = 50 * time.Millisecond
	retryMax = 30 * time.Second

	// recentMax bounds the memory of what was published lately.
	recentMax = 8192
)

// Remote is what a listing said of a path; Object is nil where it is absent.
type Remote struct{ Object *entry.Remote }

// Work is one path to look at.
type Work struct {
	Key string
	// Remote is what a listing said; nil where none was asked.
	Remote *Remote
	// Since is when the path became dirty.
	Since time.Time
	// Attempts counts the looks that ended in Retry.
	Attempts int
	// Restless: it has not been quiet for [RestlessAfter].
	Restless bool
	// MayDelete: this deletion was let go.
	MayDelete bool
	// Witnessed: a file event named this path.
	Witnessed bool
}

type item struct {
	Work
	seq     uint64    // when it became dirty; kept until it is settled
	nextSeq uint64    // when it became dirty again while flying
	touched time.Time // the last file event
	due     time.Time
	index   int // in the heap; -1 when not there

	flying bool // handed out by Next, not yet Done
	again  bool // touched while flying
	held   bool
	heldAt time.Time
	// stirred is when it was last at rest, or last looked at without rest.
	stirred  time.Time
	restless bool // it was looked at without rest
	blocked  bool // the last look ended in Blocked
	waits    bool // its due time is a backoff, which a flush does not cut short
	heat     int
	reason   string
}

// Set is safe for concurrent use; [Set.Next] has one caller.
type Set struct {
	mu     sync.Mutex
	items  map[string]*item
	due    queue
	seq    uint64
	recent map[string]published
	hurry  bool
	paused time.Time
	held   int
	flying int

	limit   int
	wake    chan struct{} // for Next
	changed chan struct{} // closed and replaced whenever an item leaves
}

type published struct {
	at   time.Time
	heat int
}

// New makes an empty set. Found waits while limit paths are in it.
func New(limit int) *Set {
	return &Set{
		items:   map[string]*item{},
		recent:  map[string]published{},
		limit:   limit,
		wake:    make(chan struct{}, 1),
		changed: make(chan struct{}),
	}
}

// Touch says that a file event named key.
func (s *Set) Touch(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	it := s.add(key, now)
	it.Witnessed = true
	it.touched = now
	s.unhold(it)
	s.schedule(it, s.restUntil(it, now))
}

// Found says that a scan, or a listing where remote is given, found a
// difference at key. It waits while the set is full.
func (s *Set) Found(ctx context.Context, key string, remote *Remote) error {
	s.mu.Lock()
	for len(s.items)-s.held >= s.limit {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	now := time.Now()
	_, known := s.items[key]
	it := s.add(key, now)
	if remote != nil {
		it.Remote = remote
	}
	// A scan that finds a held deletion again says nothing new; a listing may.
	if !known || it.held && remote != nil {
		s.unhold(it)
		s.schedule(it, now)
	}
	return nil
}

// add finds or makes the item and notes that there is something new about it.
func (s *Set) add(key string, now time.Time) *item {
	it := s.items[key]
	if it == nil {
		it = &item{Work: Work{Key: key, Since: now}, stirred: now, index: -1}
		s.items[key] = it
		if entry.IsDir(key) {
			it.heat = folderHeat
		}
		if p, ok := s.recent[key]; ok && now.Sub(p.at) < 8*quiet(p.heat) {
			it.heat = p.heat
		}
	}
	s.seq++
	switch {
	case it.seq == 0:
		it.seq = s.seq
	case it.flying && !it.again:
		it.again, it.nextSeq = true, s.seq
	}
	return it
}

func (s *Set) restUntil(it *item, now time.Time) time.Time {
	rest := now.Add(quiet(it.heat))
	if limit := it.stirred.Add(RestlessAfter); rest.After(limit) && limit.After(now) {
		return limit
	}
	return rest
}

func quiet(heat int) time.Duration { return min(quietMin<<min(heat, 10), quietMax) }

// schedule puts a waiting item at due; a flying one is scheduled when it lands.
func (s *Set) schedule(it *item, due time.Time) {
	it.due = due
	if it.flying {
		return
	}
	if it.index < 0 {
		heap.Push(&s.due, it)
	} else {
		heap.Fix(&s.due, it.index)
	}
	s.signal()
}

func (s *Set) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Next waits for the next path that is due and hands it out. Until its Done
// nobody else gets it.
func (s *Set) Next(ctx context.Context) (Work, error) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		work, wait, ok := s.take()
		if ok {
			return work, nil
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
			return Work{}, context.Cause(ctx)
		}
	}
}

func (s *Set) take() (Work, time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if wait := s.paused.Sub(now); wait > 0 {
		return Work{}, wait, false
	}
	if len(s.due) == 0 {
		return Work{}, time.Hour, false
	}
	it := s.due[0]
	if wait := it.due.Sub(now); wait > 0 && (!s.hurry || it.waits) {
		return Work{}, wait, false
	}
	heap.Pop(&s.due)
	it.flying, it.again, it.waits = true, false, false
	it.Restless = now.Sub(it.stirred) >= RestlessAfter && now.Sub(it.touched) < quiet(it.heat)
	s.flying++
	return it.Work, 0, true
}

// Hurry ends quiet times, for a flush; backoffs stay.
func (s *Set) Hurry(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurry = on
	s.signal()
}

// Pause hands nothing out until then: the store does not answer.
func (s *Set) Pause(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = until
	s.signal()
}

// Resume ends a pause.
func (s *Set) Resume() { s.Pause(time.Time{}) }

type queue []*item

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	it := x.(*item)
	it.index = len(*q)
	*q = append(*q, it)
}

func (q *queue) Pop() any {
	old := *q
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	it.index = -1
	return it
}
