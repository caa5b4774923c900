// Package syncer is the engine: it keeps a volume (a directory) and a prefix
// of a bucket equal, by planning from hints and from scans.
//
// There is one route for data: an event or a scan makes a path dirty; the
// plan says what is to be done about it; the executor does it against the
// store and the tree; the base records it; the status reports it.
package syncer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/attrs"
	"github.com/minio-sidecar/minio-sidecar/syncer/base"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/metrics"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// dirtyLimit is how many differences a scan may be ahead of the workers.
const dirtyLimit = 10_000

// Config is what an engine does, and for whom.
type Config struct {
	Bucket, Endpoint string // for messages and to tell one base from another
	Prefix           string // "" or ends in "/"
	Mode             string // contract.Mode…
	Delete           bool   // apply local deletions to the bucket
	Include, Exclude []string
	CreateBucket     bool
	// RestoreAt: restore the versions that were current then; zero: what is
	// current. In a volume that is not read-only that happens once, and makes
	// the old state the present one.
	RestoreAt      time.Time
	RestoreTimeout time.Duration // without progress, after which a restore fails; 0: none
	FlushTimeout   time.Duration // for the last flush
	ScanInterval   time.Duration // between full scans of the volume
	// ShutdownQuiet: the last flush ends only when nothing has changed for so
	// long; for a sidecar that is stopped together with its app.
	ShutdownQuiet time.Duration
	Concurrency   int // paths under way at once, at most
}

// Deps is what an engine works with. Metrics may be nil.
type Deps struct {
	Store   store.Store
	Tree    *tree.Tree
	Base    *base.DB
	Log     *slog.Logger
	Metrics *metrics.Metrics
}

// Engine is one volume and one prefix. Restore or Sync runs once; the other
// methods may be called meanwhile from any goroutine.
type Engine struct {
	cfg      Config
	store    store.Store
	tree     *tree.Tree
	base     *base.DB
	log      *slog.Logger
	metrics  *metrics.Metrics
	filter   plan.Filter
	defaults attrs.Defaults
	writer   string // this process, among the writers of the prefix

	dirty      *dirty.Set
	lanes      *lanes
	gate       *gate
	room       *gate // closed while the store has none; only uploads ask for it
	records    *records
	refused    refused
	state      *state
	scans      chan scanRequest
	scanAll    chan struct{} // a scan was asked for that scans had no room for
	judge      judge
	growing    *growing
	odometer   odometer
	unfinished unfinished
	tooSmall   sync.Once // the volume, for a restore
	unsent     *unsent
	admission  admission
	inStep     chan struct{} // closed once the first full pass of a sync has succeeded

	attendEvery time.Duration // to look for other writers, or at the bucket
	failingMax  int           // paths that fail and are kept, to be tried again soon
	crowdedOut  atomic.Bool   // others fail, too, and only a scan finds them again

	// pruning is held while something is deleted in the volume, with the folders
	// that it leaves empty: they are not to be taken for folders that somebody
	// has emptied, and published as such.
	pruning sync.RWMutex

	// mu guards what the passes learn.
	mu        sync.Mutex
	rules     plan.Rules
	lookFirst bool // the store ignores conditions, or may: until it is known
	// unconditional: it does, and may not even take writes that have one.
	unconditional bool
	scanning      int  // passes under way: held deletions wait for their end
	travels       bool // an earlier state is being restored
	confirming    int  // flushes that let deletions go, at the word of a person
	doubt         doubt
	listAt        time.Time // when to list for pulls that were given up; zero: there are none
	kept          bool      // a restore began with what an earlier one had left
	// doubtful are the objects that a restore has failed to read so far.
	doubtful map[string]struct{}
	// late are the folders that a restore gives their mode when all is in them.
	late      []entry.Remote
	filled    bool                    // now is the time
	abortWith context.CancelCauseFunc // while restoring
}

// New checks cfg and puts an engine together. It does no I/O but to look at
// the volume's root.
func New(cfg Config, deps Deps) (*Engine, error) {
	filter, err := plan.NewFilter(cfg.Include, cfg.Exclude)
	if err != nil {
		return nil, err
	}
	if cfg.Prefix != "" && !strings.HasSuffix(cfg.Prefix, "/") {
		return nil, fmt.Errorf("prefix %q must end in \"/\"", cfg.Prefix)
	}
	if cfg.Concurrency <= 0 {
		return nil, fmt.Errorf("concurrency %d: must be at least 1", cfg.Concurrency)
	}
	root, err := deps.Tree.Root()
	if err != nil {
		return nil, fmt.Errorf("look at the volume: %w", err)
	}
	e := &Engine{
		cfg:      cfg,
		store:    deps.Store,
		tree:     deps.Tree,
		base:     deps.Base,
		log:      deps.Log,
		metrics:  deps.Metrics,
		filter:   filter,
		defaults: attrs.Defaults{UID: root.Attrs.UID, GID: root.Attrs.GID},
		writer:   writerID(),
		dirty:    dirty.New(dirtyLimit, dirty.RestlessAfter),
		lanes:    newLanes(cfg.Concurrency),
		gate:     newGate(retryMost),
		room:     newGate(retryMost),
		records:  newRecords(),
		refused:  newRefused(),
		unsent:   newUnsent(),
		state:    newState(deps.Log),
		scans:    make(chan scanRequest, 64),
		scanAll:  make(chan struct{}, 1),
		judge:    newJudge(),
		growing:  newGrowing(),
		doubtful: map[string]struct{}{},
		inStep:   make(chan struct{}),

		lookFirst: true,
	}
	e.failingMax = dirtyLimit
	e.attendEvery = rosterInterval
	if e.readOnly() {
		e.attendEvery = followInterval
	}
	deps.Metrics.Observe(e.Status)
	return e, nil
}

// writerID names this process: the pod's name, which is its host name, and a
// random part, because a container that restarts is another writer.
func writerID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	host, _, _ = strings.Cut(host, ".")
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (Go 1.24)
	return host + "-" + hex.EncodeToString(b[:])
}

func (e *Engine) currentRules() plan.Rules {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rules
}

func (e *Engine) setRules(r plan.Rules) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rules = r
}

func (e *Engine) setAbort(abort context.CancelCauseFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.abortWith = abort
}

func (e *Engine) restoring() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.abortWith != nil
}

// abort ends a restore with an error that waiting does not mend.
func (e *Engine) abort(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.abortWith != nil {
		e.abortWith(err)
	}
}

// Status is a snapshot.
func (e *Engine) Status() status.Status {
	s := e.state.snapshot()
	s.Bucket, s.Prefix, s.Endpoint, s.Mode = e.cfg.Bucket, e.cfg.Prefix, e.cfg.Endpoint, e.cfg.Mode
	pending, since := e.dirty.Oldest(shownPaths)
	for _, p := range pending {
		s.PendingPaths = append(s.PendingPaths, status.PathReason{Path: legible(p.Key), Reason: legible(p.Reason)})
	}
	if !since.IsZero() {
		s.OldestPendingSeconds = time.Since(since).Seconds()
	}
	s.Pending = int64(e.dirty.Len())
	s.Synced = max(e.base.Len()-s.Pending, 0)
	return s
}

func haltedMessage(n int64) string {
	return fmt.Sprintf("%d deletions are held back because they would empty most of the volume; "+
		"if they are meant, run: syncer flush --confirm-deletes", n)
}

// connect waits until the bucket answers, creating it if that is asked for.
// It gives up at once on errors that waiting does not mend.
func (e *Engine) connect(ctx context.Context, fatal func(error) bool) error {
	return e.insist(ctx, fatal, func() error {
		err := e.store.CheckBucket(ctx)
		if isNoBucket(err) && e.cfg.CreateBucket && !e.readOnly() {
			e.log.Info("creating bucket", "bucket", e.cfg.Bucket)
			err = e.store.CreateBucket(ctx)
		}
		return err
	})
}

// failed notes an error that concerns the whole store, and slows down.
func (e *Engine) failed(err error) {
	wait, fresh := e.gate.fail()
	e.dirty.Pause(time.Now().Add(wait))
	e.state.fail(err)
	if fresh {
		e.log.Warn("store does not take part; will try again", "error", err, "wait", wait.Round(time.Millisecond))
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
