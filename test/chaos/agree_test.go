package chaos

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

var writersFlag = flag.Duration("chaos.writers", 30*time.Second, "how long several writers go on beginning new acts")

// TestWriters: two or three volumes, each with a syncer, on one prefix. What
// one of them was told to be in the bucket no other one takes away, whoever is
// killed or cut off meanwhile; and when their apps rest they come to hold the
// same.
func TestWriters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, *seedFlag+5, syncerBinary(t))
	s := newShared(w, 2+w.rng.IntN(3)/2) // three of them a third of the time
	for acts := 0; acts == 0 || time.Since(w.began) < *writersFlag; acts++ {
		s.act()
	}
	for _, w := range s.worlds {
		t.Logf("%s %s", w.own, w.counts)
	}
}

// loseNode takes one volume away, with what its syncer remembers: at once, or
// after its syncer was asked to end.
func (s *shared) loseNode(w *world, tr *troubles) {
	w.t.Helper()
	if w.rng.IntN(2) == 0 {
		w.drain(tr)
	}
	w.node.kill()
	tr.stop()
	w.isolate()
	bucket := w.whatIsLeft()
	w.note(w.own + ": the node is lost")
	acked := s.acked()
	s.mu.Lock()
	s.record.Lost(w.own, acked[w.own])
	s.mu.Unlock()
	w.node.remove()
	w.node = w.newNode(0)
	w.restoreWithTroubles(bucket)
	w.app.dir = w.home()
	w.try(os.MkdirAll(w.home(), 0o755)) // if there was nothing in it
	found, err := w.surveyHome()
	w.try(err)
	w.mu.Lock()
	list := w.record.Check(found)
	w.mu.Unlock()
	w.demand("after the loss of the node", list, w.home())
	w.mu.Lock()
	w.record.Became(w.since(), found, "restored")
	w.mu.Unlock()
	w.count("nodes lost")
}

// drain ends sync by SIGTERM. With exit code 0 everything is acknowledged;
// another one there can be if a person has to confirm deletions.
func (w *world) drain(tr *troubles) {
	w.t.Helper()
	w.node.start()
	w.node.await("answering", func(condition) bool { return true }) // before that it knows no signals
	tr.stop()
	m := w.moment()
	if w.stopInTime(func() {}) == contract.ExitOK {
		w.acknowledge(m, "sync has ended with code 0: everything is acknowledged")
		w.count("clean shutdowns")
	}
}

// agree flushes all, with nothing in the way, until they hold the same, and
// looks at what that is.
func (s *shared) agree() {
	var bucket map[string]record.State
	for deadline := time.Now().Add(patience); ; {
		for _, w := range s.worlds {
			w.t.Helper()
			w.settle()
		}
		var wrong string
		if bucket, wrong = s.compare(); wrong == "" {
			break
		}
		s.stopIfFailed()
		if time.Now().After(deadline) {
			s.worlds[0].fatal("they never agree: " + wrong)
		}
		time.Sleep(200 * time.Millisecond) // until the next look at the bucket
	}
	for _, w := range s.worlds {
		own := below(w.own, bucket)
		w.mu.Lock()
		list := w.record.Equal(own)
		w.mu.Unlock()
		w.demand(w.own+" is not what its app has made of it, when all agree", list, "")
		w.mu.Lock()
		w.record.Became(w.since(), own, "all agree")
		w.mu.Unlock()
	}
	auditor := s.worlds[0].auditor
	auditor.keep(false)
	if _, wrong := s.worlds[0].bucketOf(""); wrong != "" {
		s.worlds[0].fatal(wrong)
	}
	auditor.keep(true)
	acked := s.acked()
	s.mu.Lock()
	list := s.record.Check(inCommons(bucket), acked)
	s.mu.Unlock()
	if wrong := s.report("when all agree, the commons", list); wrong != "" {
		s.worlds[0].fatal(wrong)
	}
	s.mu.Lock()
	s.record.Agreed(inCommons(bucket))
	s.mu.Unlock()
	for _, w := range s.worlds {
		w.mu.Lock()
		w.record.Forget()
		w.counts["agreements"]++
		w.counts["conflict copies"] = copies(bucket)
		w.mu.Unlock()
	}
}

// compare returns what the bucket has, and says where a volume has something else.
func (s *shared) compare() (bucket map[string]record.State, wrong string) {
	bucket, wrong = s.worlds[0].bucketOf("")
	if wrong != "" {
		return nil, wrong
	}
	for _, w := range s.worlds {
		volume, err := survey(w.node.volume)
		if err != nil {
			return nil, err.Error() // of a file that just goes
		}
		for _, path := range slices.Sorted(maps.Keys(union(volume, bucket))) {
			v, b := volume[path], bucket[path]
			if !strings.HasPrefix(path, w.own) && !strings.HasPrefix(path, commons) {
				v, b = content(v), content(b)
			}
			if v != b {
				wrong += fmt.Sprintf("\n  %q: the volume of %s has %s, the bucket has %s", path, w.own, v, b)
			}
		}
	}
	return bucket, wrong
}

// content is a state without the attributes. Where they alone have changed, in
// the volume of the one whose file it is, the others do not notice.
func content(s record.State) record.State { s.Perm, s.MTime = 0, 0; return s }

// bucketOf is what the bucket has in a folder, by full names.
func (w *world) bucketOf(folder string) (found map[string]record.State, wrong string) {
	all, wrong := w.lookPatiently()
	all = withFolders(all)
	maps.DeleteFunc(all, func(path string, _ record.State) bool { return !strings.HasPrefix(path, folder) })
	return all, wrong
}

func inCommons(bucket map[string]record.State) map[string]record.State {
	files := maps.Clone(bucket)
	maps.DeleteFunc(files, func(path string, _ record.State) bool { return !strings.HasPrefix(path, commons) })
	return files
}

func copies(bucket map[string]record.State) (n int) {
	for path := range bucket {
		if _, is := record.Original(path); is {
			n++
		}
	}
	return n
}
