// Package dirty holds the paths that may differ between volume and bucket,
// and decides when each is looked at: a path that was touched waits until it
// has been quiet for a while, a failed one until its backoff is over, a
// deletion until it is let go.
package dirty

import (
	"container/heap"
	"container/list"
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

const (
	// quietMin lets a finished file leave at once; it is longer than the tick
	// with which kernels stamp files (10 ms at the most), so that a write
	// after the read cannot hide in the same tick.
	quietMin = 25 * time.Millisecond
	// quietMax bounds both the quiet that is asked of a path and the time
	// between two uploads of it.
	quietMax = 4 * time.Second
	// RestlessAfter is how long a path is to be touched again and again before
	// it is looked at without having been quiet. Two such looks tell a log
	// from other files, so what is written to a log is published after a minute
	// at the latest.
	RestlessAfter = 30 * time.Second

	// flushPatience is how often a file may change under the eyes of a flush
	// before it is taken for restless.
	flushPatience = 2

	// folderQuiet makes a folder wait some 400 ms: most are empty, and would
	// need an object of their own, only until their first file is there.
	folderQuiet = 4

	retryMin = 50 * time.Millisecond
	retryMax = 30 * time.Second

	// failuresMax is how often a path may fail before it does not keep
	// deletions waiting any more: it may fail for ever, or for want of the room
	// that they would make.
	failuresMax = 6
	// waitingMax bounds the paths that are in a backoff, as a multiple of the
	// others: a store without room must not stop the scans, nor take all memory.
	waitingMax = 10

	// recentMax bounds the memory of what was published lately.
	recentMax = 8192
)

// Remote is what a listing said of a path; Object is nil where it is absent.
type Remote struct{ Object *entry.Remote }

func (r *Remote) absent() bool { return r != nil && r.Object == nil }

// Work is one path to look at.
type Work struct {
	Key string
	// Remote is what the last listing said, until the path is settled; nil
	// where none was asked. It may be out of date.
	Remote *Remote
	// Since is when the path became dirty.
	Since time.Time
	// Attempts counts the looks that ended in Retry, Failed, Missed or Blocked.
	Attempts int
	// Unrests counts the looks in the middle of which it changed.
	Unrests int
	// Restless: it has not been quiet for so long as [New] was told, or a flush is
	// waiting for it and it keeps changing.
	Restless bool
	// MayDelete: this deletion was let go.
	MayDelete bool
	// Witnessed: a file event named this path.
	Witnessed bool
}

// item is one dirty path. It is in at least one of: the queue, the looks under
// way (flying), the held deletions.
type item struct {
	Work
	seq     uint64    // when it became dirty
	touched time.Time // the last file event
	// stirred is when it was last at rest, or last looked at without rest.
	stirred time.Time
	due     time.Time
	index   int // in the queue; -1 when not there

	flying bool  // handed out by Next, not yet Done
	next   *item // what came to be known of the path meanwhile
	held   *list.Element
	heldAt time.Time

	restless bool // it was looked at without rest
	blocked  bool // the last look ended in Blocked
	missed   bool // the last look ended in Missed, and there is no news
	failures int  // looks that ended in Failed, Deferred or Missed
	waits    bool // its due time is a backoff, which nothing cuts short
	pace     pace
	reason   string
}

// pace is what a path's past says of its future.
type pace struct {
	// need is the quiet it needs, as a power of two: it grows with each read
	// in the middle of which the path changed.
	need int
	// heat is the time between two uploads, likewise: it grows with each
	// upload, so that a file that changes all the time does not storm, and
	// yet is never more than quietMax behind once it pauses for quietMin.
	heat      int
	published time.Time
}

func (p pace) stale(now time.Time) bool { return now.Sub(p.published) > 8*quiet(p.heat) }

func quiet(n int) time.Duration { return min(quietMin<<min(n, 10), quietMax) }

// Set is safe for concurrent use; [Set.Next] has one caller.
type Set struct {
	mu     sync.Mutex
	items  map[string]*item
	due    queue
	flying map[*item]struct{}
	held   list.List // of *item, in the order in which they began to wait
	unseen int       // of the held, those that no file event named
	// crushed are held deletions beyond heldMax; released are those of them
	// that were let go and are still to be found.
	crushed, released crowd
	seed              maphash.Seed
	seq               uint64
	recent            map[string]pace
	hurry             int // flushes under way
	waiting           int // of those in the queue, how many are in a backoff
	paused            time.Time

	limit         int
	restlessAfter time.Duration
	heldMax       int
	wake          chan struct{} // for Next
	changed       chan struct{} // closed at the next change; nil while nobody waits
}

// New makes an empty set. Found waits while limit paths are in it that are
// neither held nor in a backoff. A path that is not quiet for restlessAfter,
// which is [RestlessAfter] but in tests, is looked at all the same.
func New(limit int, restlessAfter time.Duration) *Set {
	return &Set{
		items:         map[string]*item{},
		flying:        map[*item]struct{}{},
		recent:        map[string]pace{},
		limit:         limit,
		restlessAfter: restlessAfter,
		heldMax:       heldMax,
		seed:          maphash.MakeSeed(),
		wake:          make(chan struct{}, 1),
	}
}

// Touch says that a file event named key.
func (s *Set) Touch(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch(key)
}

// TouchFor is Touch on account of the look at cause, which is under way and may
// be of key itself: who waits for cause to be settled waits for key too.
func (s *Set) TouchFor(key, cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.touch(key)
	if c := s.items[cause]; c != nil {
		it.seq = min(it.seq, c.seq)
	}
}

func (s *Set) touch(key string) *item {
	now := time.Now()
	it, _ := s.add(key, now)
	s.witness(it)
	it.touched = now
	it.MayDelete, it.missed = false, false
	if it == s.items[key] { // otherwise a look is under way, and Done sees to what comes then
		s.schedule(it, s.rest(it))
	}
	return it
}

// Found says that a scan, or a listing where remote is given, found a
// difference at key. It waits while the set is full, unless it has key already.
func (s *Set) Found(ctx context.Context, key string, remote *Remote) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.items[key] == nil && s.full() {
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
	now := time.Now()
	it, known := s.add(key, now)
	if remote != nil {
		it.Remote = remote
	} else {
		it.missed = false
	}
	if !known || it.held != nil && it.index < 0 {
		s.schedule(it, now)
	}
	return nil
}

// add notes that there is something new about key, and returns the item that
// is to learn it: while a look is under way, that is the one for the next.
func (s *Set) add(key string, now time.Time) (it *item, known bool) {
	s.seq++
	it = s.items[key]
	switch {
	case it == nil:
		return s.fresh(key, now), false
	case !it.flying:
		return it, true
	case it.next == nil:
		it.next = s.newItem(key, now)
	}
	return it.next, true
}

// fresh puts key into the set, with what is known of it.
func (s *Set) fresh(key string, now time.Time) *item {
	it := s.newItem(key, now)
	it.pace = s.paceOf(key, now)
	s.revive(it)
	s.items[key] = it
	return it
}

func (s *Set) newItem(key string, now time.Time) *item {
	return &item{Work: Work{Key: key, Since: now}, seq: s.seq, stirred: now, index: -1}
}

func (s *Set) paceOf(key string, now time.Time) pace {
	if p, ok := s.recent[key]; ok && !p.stale(now) {
		return p
	}
	if entry.IsDir(key) {
		return pace{need: folderQuiet}
	}
	return pace{}
}

func (s *Set) witness(it *item) {
	if it.held != nil && !it.Witnessed {
		s.unseen--
	}
	it.Witnessed = true
}

// rest is when it can be looked at: when it has been quiet for long enough, and
// is not being uploaded too often.
func (s *Set) rest(it *item) time.Time {
	if it.waits && s.hurry > 0 { // a flush waits for the backoff, not for more quiet
		return it.due
	}
	at := it.touched.Add(quiet(it.pace.need))
	if it.pace.heat > 0 {
		at = later(at, it.pace.published.Add(quiet(it.pace.heat)))
	}
	if limit := it.stirred.Add(s.restlessAfter); at.After(limit) {
		at = limit
	}
	if it.waits {
		at = later(at, it.due)
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// schedule queues it for due.
func (s *Set) schedule(it *item, due time.Time) {
	it.due = due
	if s.hurry > 0 && !it.waits {
		it.due = time.Time{}
	}
	if it.index < 0 {
		heap.Push(&s.due, it)
	} else {
		heap.Fix(&s.due, it.index)
	}
	if it.index == 0 {
		s.signal()
	}
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

func (s *Set) take() (w Work, wait time.Duration, ok bool) {
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
	if wait := it.due.Sub(now); wait > 0 {
		return Work{}, wait, false
	}
	heap.Pop(&s.due)
	if it.waits {
		s.waiting--
	}
	it.flying, it.waits = true, false
	s.flying[it] = struct{}{}
	it.Restless = now.Sub(it.stirred) >= s.restlessAfter && now.Sub(it.touched) < quiet(it.pace.need) ||
		s.hurry > 0 && it.Unrests >= flushPatience
	return it.Work, 0, true
}

// Again ends the backoff of key, if it is in one: what it failed for has
// passed. It reports whether key is in the set.
func (s *Set) Again(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[key]
	if it != nil && it.waits {
		it.waits = false
		s.waiting--
		s.schedule(it, time.Now())
		s.notify()
	}
	return it != nil
}

// Hurry ends quiet times, for a flush, until it was called with false as often
// as with true; backoffs stay.
func (s *Set) Hurry(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !on {
		s.hurry--
		return
	}
	s.hurry++
	for _, it := range s.due {
		if !it.waits {
			it.due = time.Time{}
		}
	}
	heap.Init(&s.due)
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

// queue is a heap by due time.
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
