package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

const (
	// prefix is where in the bucket the volume is.
	prefix = "app/"
	// patience bounds every wait for what must come; it is long because a
	// loaded machine is no fault.
	patience = 4 * time.Minute
)

// world is one volume at a time, a syncer, the way to the store, the store,
// and the record of all that happened.
type world struct {
	t      *testing.T
	seed   uint64
	began  time.Time
	dir    string
	binary string

	server      *testenv.Server
	path        *testenv.FaultyPath
	endpoint    string // that the syncer is given
	touched     func(path string)
	bucket      string
	versioned   bool
	credentials string
	log         *os.File // of all syncers, in order

	rng          *rand.Rand // for the acts; others have their own
	netRng       *rand.Rand
	processRng   *rand.Rand
	scanInterval time.Duration
	node         *node
	nodes        int
	own          string  // folder of the volume that is this app's, with a / at its end; empty: all of it
	shared       *shared // with whom it shares the bucket; nil: with nobody
	skew         time.Duration
	app          *app
	auditor      *auditor
	flushing     sync.WaitGroup
	flushBusy    atomic.Bool

	mu     sync.Mutex // the app's steps and the record are one
	record *record.Record
	counts counts
	failed string
}

// counts says what a run consisted of.
type counts map[string]int

func (c counts) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, c[name]))
	}
	return strings.Join(parts, ", ")
}

func newWorld(t *testing.T, seed uint64, binary string) *world {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxics tell of each interruption
	w := &world{t: t, seed: seed, dir: t.TempDir(), binary: binary}
	var err error
	if w.log, err = os.Create(filepath.Join(w.dir, "syncer.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.log.Close() })
	w.begin(0)
	w.server = testenv.MinIO(t)
	// With versions nothing that was ever published escapes; without, the
	// store does more of what stores do.
	w.versioned = w.rng.IntN(4) > 0
	w.bucket = w.server.NewBucket(t, w.versioned)
	w.credentials = w.server.CredentialsDir(t)
	w.scanInterval = []time.Duration{time.Second, 5 * time.Minute, 5 * time.Minute}[w.rng.IntN(3)]
	w.auditor = newAuditor(w)
	w.began = time.Now()
	w.settleIn(w.volumeSize())
	w.note(fmt.Sprintf("bucket with versions: %t, scan interval %s", w.versioned, w.scanInterval))
	return w
}

// begin makes all that a world has for itself but its node; which world of a
// seed it is decides what it chooses.
func (w *world) begin(which uint64) {
	stream := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(w.seed, 10*which+n)) }
	w.rng, w.netRng, w.processRng = stream(1), stream(2), stream(3)
	w.record, w.counts = record.New(), counts{}
	w.app = &app{w: w, rng: stream(4), ops: operations(), last: int(which) * 1_000_000_000}
}

// settleIn makes the node, with a volume of that size, and its way to the store.
func (w *world) settleIn(size int64) {
	w.path = w.server.Faulty(w.t)
	w.endpoint, w.touched = w.path.Endpoint, func(string) {}
	w.node = w.newNode(size)
	w.app.dir = w.home()
	w.t.Cleanup(func() {
		w.flushing.Wait()
		w.node.remove()
	})
}

// volumeSize is that of a volume of its own, or 0 for a folder on a disk.
func (w *world) volumeSize() int64 {
	if w.rng.IntN(2) == 0 || w.shared != nil {
		return 0
	}
	return maxBytes + 32<<20
}

func (w *world) since() time.Duration { return time.Since(w.began) }

// note remembers what happened to no path in particular.
func (w *world) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record.Note(w.since(), what)
	fmt.Fprintf(w.log, "CHAOS %8.3fs %s\n", w.since().Seconds(), what)
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// moment is the present; what happens from now on is later.
func (w *world) moment() record.Moment {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.record.Now()
}

func (w *world) acknowledge(m record.Moment, how string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record.Acknowledge(w.since(), m, how)
	w.counts["acknowledged"]++
}

// fail notes the first failure; the test ends when it next looks.
func (w *world) fail(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == "" {
		w.failed = fmt.Sprintf("at %.3fs: %s", w.since().Seconds(), what)
	}
}

func (w *world) hasFailed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed != ""
}

func (w *world) stopIfFailed() {
	w.t.Helper()
	if w.hasFailed() {
		w.fatal("")
	}
}

// fatal ends the test with everything that is known.
func (w *world) fatal(what string) {
	w.t.Helper()
	if what != "" {
		w.fail(what)
	}
	w.node.kill()
	w.flushing.Wait()
	kept := w.keep()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t.Fatalf("seed %d (bucket with versions: %t, %s)\n%s\nlistings and logs are kept in %s", w.seed, w.versioned, w.counts, w.failed, kept)
}

// How many violations are shown, and how many are told in full.
const (
	shown        = 15
	shownStories = 3
)

// demand fails with the stories of the violations, if there are any.
func (w *world) demand(what string, list []record.Violation, volume string) {
	w.t.Helper()
	if text := w.report(what, list, volume); text != "" {
		w.fatal(text)
	}
}

// report tells the stories of the violations; without any it is empty.
func (w *world) report(what string, list []record.Violation, volume string) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d paths are wrong\n", what, len(list))
	w.mu.Lock()
	for i, v := range list[:min(len(list), shown)] {
		fmt.Fprintf(&b, "%s\n", v)
		if i >= shownStories {
			continue
		}
		if v.Found.Kind == record.File && volume != "" {
			if f, err := os.Open(filepath.Join(volume, v.Path)); err == nil {
				fmt.Fprintf(&b, "  it consists of %s\n", record.Explain(f))
				f.Close()
			}
		}
		b.WriteString(w.record.Story(v.Path))
	}
	w.mu.Unlock()
	return b.String()
}

// keep puts what is there aside, for a look after the test.
func (w *world) keep() string {
	dir, err := os.MkdirTemp("", fmt.Sprintf("chaos-%d-", w.seed))
	if err != nil {
		return err.Error()
	}
	if text, err := os.ReadFile(w.log.Name()); err == nil {
		_ = os.WriteFile(filepath.Join(dir, "syncer.log"), text, 0o600)
	}
	volumes, _ := filepath.Glob(filepath.Join(w.dir, "*node-*", "volume"))
	for _, v := range volumes {
		found, err := survey(v)
		_ = os.WriteFile(filepath.Join(dir, filepath.Base(filepath.Dir(v))+".txt"), listing(found, err), 0o600)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	found, err := w.auditor.look(ctx)
	_ = os.WriteFile(filepath.Join(dir, "bucket.txt"), listing(found, err), 0o600)
	w.mu.Lock()
	defer w.mu.Unlock()
	now := map[string]record.State{}
	for _, p := range w.record.Paths() {
		now[p] = w.record.State(p)
	}
	_ = os.WriteFile(filepath.Join(dir, "record.txt"), listing(now, nil), 0o600)
	return dir
}

func listing(found map[string]record.State, err error) []byte {
	var b strings.Builder
	if err != nil {
		fmt.Fprintf(&b, "not complete: %v\n", err)
	}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintf(&b, "%q %s\n", path, found[path])
	}
	return []byte(b.String())
}
