package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

// commons is the folder that all apps write into.
const commons = "shared/"

// shared is several worlds in one bucket. Each has a volume, a syncer and a way
// to the store for itself, and an app with a folder of its own, for which it
// alone answers. Besides, each app writes into the commons.
type shared struct {
	worlds []*world
	rng    *rand.Rand

	mu     sync.Mutex // a step in the commons and the record of it are one
	record *record.Shared
}

// newShared lets n worlds begin in an empty bucket. The clocks of their nodes
// may be wrong by hours, as far as files tell of it.
func newShared(w *world, n int) *shared {
	w.t.Helper()
	s := &shared{rng: rand.New(rand.NewPCG(w.seed, 300)), record: record.NewShared()}
	w.auditor.judge = s.judge
	// Without versions MinIO may delete an edit together with what it was made
	// of; with them sync looks at what it has deleted. See docs/interoperability.md.
	w.bucket, w.versioned = w.server.NewBucket(w.t, true), true
	w.auditor.keep(true)
	w.node.remove() // it may be a mount, and was nobody's own
	s.join(w, 0)
	w.node = w.newNode(0)
	w.app.dir = w.home()
	for i := 1; i < n; i++ {
		o := &world{t: w.t, seed: w.seed, dir: w.dir, binary: w.binary, began: w.began, log: w.log,
			server: w.server, bucket: w.bucket, versioned: w.versioned, credentials: w.credentials,
			scanInterval: w.scanInterval, auditor: w.auditor}
		s.join(o, i)
		o.begin(uint64(i))
		o.settleIn(0)
	}
	for _, w := range s.worlds {
		w.node.start()
		w.node.await("restored", func(c condition) bool { return c.Restored })
		w.try(os.MkdirAll(w.home(), 0o755))
		w.note(fmt.Sprintf("%s joins; its clock is off by %s", w.own, w.skew))
	}
	return s
}

func (s *shared) join(w *world, i int) {
	w.shared, w.own = s, fmt.Sprintf("own-%c/", 'a'+i)
	w.skew = []time.Duration{0, 0, 5 * time.Hour, -5 * time.Hour}[s.rng.IntN(4)]
	s.worlds = append(s.worlds, w)
}

func (s *shared) stopIfFailed() {
	for _, w := range s.worlds {
		w.t.Helper()
		w.stopIfFailed()
	}
}

// act lets all apps work while things fail for each of them. Then one of them
// may lose its node; and at the end all come to agree.
func (s *shared) act() {
	var all []*troubles
	for _, w := range s.worlds {
		w.t.Helper()
		w.node.start()
		all = append(all, w.startTroubles(true))
	}
	for range 40 + s.rng.IntN(80) {
		w := s.worlds[s.rng.IntN(len(s.worlds))]
		if s.rng.IntN(3) == 0 {
			s.op(w)
		} else {
			w.app.op()
		}
		if s.rng.IntN(12) == 0 {
			w.flushSoon()
		}
		s.stopIfFailed()
	}
	for _, tr := range all {
		tr.stopProcess()
	}
	s.stopIfFailed()
	if n := s.rng.IntN(2 * len(s.worlds)); n < len(s.worlds) {
		s.loseNode(s.worlds[n], all[n])
	}
	for _, tr := range all {
		tr.stop()
	}
	s.agree()
}

// op writes or deletes a file in the commons. That is one step, which brings
// to light what was there before: a file is made outside and takes its place.
func (s *shared) op(w *world) {
	w.t.Helper()
	w.count("operations on shared files")
	path := commons + pick(w.app, []string{"x", "y", "z"})
	s.mu.Lock()
	old := s.record.Paths()
	s.mu.Unlock()
	if len(old) > 0 && w.app.rng.IntN(8) == 0 {
		path = pick(w.app, old) // perhaps a conflict copy, which somebody clears away
	}
	tmp, at := filepath.Join(filepath.Dir(w.node.volume), "outside"), filepath.Join(w.node.volume, path)
	w.try(os.MkdirAll(filepath.Dir(at), 0o755))
	var after record.State
	do := takeAway
	if _, isCopy := record.Original(path); !isCopy && w.app.rng.IntN(4) > 0 {
		after, do = w.made(tmp), exchange
	}
	s.mu.Lock()
	before, err := do(tmp, at)
	wrong := ""
	if v := s.record.Whole(path, before); before.Kind != record.Absent && v != nil {
		wrong = fmt.Sprintf("in the volume of %s: %s\n%s", w.own, v, s.record.Story(path))
	}
	if before != after { // not both absent
		w.note(fmt.Sprintf("%q was %s, and is %s", path, before, after))
		s.record.Wrote(w.since(), w.own, w.moment(), path, before, after)
	}
	s.mu.Unlock()
	w.try(err)
	if wrong != "" {
		w.fatal(wrong)
	}
}

// made makes a file of a new content, of the time that this node believes it is.
func (w *world) made(name string) record.State {
	w.t.Helper()
	w.app.last++
	size := 64 + w.app.size()
	if w.app.rng.IntN(20) == 0 {
		size = 9 << 20 // in parts
	}
	b := make([]byte, size)
	record.Fill(b, w.app.last, 0)
	w.try(os.WriteFile(name, b, 0o644))
	now := time.Now().Add(w.skew)
	w.try(os.Chtimes(name, now, now))
	made, err := look(name)
	w.try(err)
	return made
}

// exchange gives the file tmp the path at, and returns what was there.
func exchange(tmp, at string) (before record.State, err error) {
	for {
		switch err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, at, unix.RENAME_EXCHANGE); err {
		case nil:
			before, err = look(tmp)
			return before, errors.Join(err, os.Remove(tmp))
		case unix.ENOENT:
			if err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, at, unix.RENAME_NOREPLACE); err != unix.EEXIST {
				return before, err
			}
		default:
			return before, err
		}
	}
}

// takeAway deletes what is at the path, and returns what it was.
func takeAway(tmp, at string) (before record.State, err error) {
	if err := os.Rename(at, tmp); os.IsNotExist(err) {
		return before, nil
	} else if err != nil {
		return before, err
	}
	before, err = look(tmp)
	return before, errors.Join(err, os.Remove(tmp))
}

// judge says what is wrong with an object, by the record of the one whose it is.
func (s *shared) judge(path string, f record.State) string {
	for _, w := range s.worlds {
		if rest, ok := strings.CutPrefix(path, w.own); ok {
			return w.judge(rest, f)
		}
	}
	if !strings.HasPrefix(path, commons) {
		return "" // the folders themselves
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.record.Whole(path, f); v != nil {
		return fmt.Sprintf("an object is not whole: %s\n%s", v, s.record.Story(path))
	}
	return ""
}

// left says what is wrong with the commons in the bucket, while others go on. A
// listing is no moment: what it does not show may have come while it was made.
// So only what several of them show in the same way is wrong.
func (s *shared) left() string {
	const looks = 3
	var wrong []record.Violation
	for n := range looks {
		acked := s.acked() // before the look
		bucket, text := s.worlds[0].bucketOf(commons)
		if text != "" {
			return text
		}
		s.mu.Lock()
		list := s.record.Check(bucket, acked)
		s.mu.Unlock()
		if n > 0 {
			list = slices.DeleteFunc(list, func(v record.Violation) bool { return !slices.Contains(wrong, v) })
		}
		if wrong = list; len(wrong) == 0 {
			return ""
		}
		time.Sleep(100 * time.Millisecond)
	}
	return s.report("what is shared is not what it may be, after a kill of one sync", wrong)
}

func (s *shared) acked() map[string]record.Moment {
	acked := map[string]record.Moment{}
	for _, w := range s.worlds {
		w.mu.Lock()
		acked[w.own] = w.record.Acked()
		w.mu.Unlock()
	}
	return acked
}

func (s *shared) report(what string, list []record.Violation) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d paths are wrong\n", what, len(list))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, v := range list[:min(len(list), shown)] {
		fmt.Fprintf(&b, "%s\n", v)
		if i < shownStories {
			b.WriteString(s.record.Story(v.Path))
		}
	}
	return b.String()
}
