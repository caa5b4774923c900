package syncer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"syscall"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/base"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// patience is how often a path is tried before an obstacle that other paths may
// remove (a folder where a file should be) is called final.
const patience = 9

// unsyncableError: this path cannot be synced, whatever the store or the
// volume do; the others are not held up.
type unsyncableError struct{ reason string }

func (e *unsyncableError) Error() string { return e.reason }

// judgeError turns a failure into what happens next with the path. Nothing is
// dropped: a path that is not synced stays dirty or is named as unsyncable.
func (e *Engine) judgeError(ctx context.Context, w dirty.Work, err error) result {
	var no *unsyncableError
	kind, refused := "failing: ", false
	var lasting error // what is the state of the volume, or of the object
	switch {
	case ctx.Err() != nil:
		return result{outcome: dirty.Retry, reason: "stopped"}
	case errors.Is(err, errVanished) && e.restoring():
		e.abort(err)
		return result{outcome: dirty.Retry, reason: err.Error()}
	case errors.Is(err, base.ErrUnwritable): // whatever word it has for why
		return result{outcome: dirty.Retry, reason: err.Error()}
	case errors.Is(err, errNotAsked):
		return result{outcome: dirty.Deferred, reason: err.Error()}
	case errors.As(err, &no):
		e.unsyncable(w.Key, no.reason)
		return result{outcome: dirty.Settled}
	case errors.Is(err, store.ErrKeyRejected) && !e.inVolume(w.Key):
		e.synced(w.Key) // it was there for a moment
		return result{outcome: dirty.Settled}
	case errors.Is(err, store.ErrKeyRejected):
		e.unsyncable(w.Key, "name: "+err.Error())
		return result{outcome: dirty.Settled}
	case errors.Is(err, fs.ErrPermission) && !errors.Is(err, store.ErrUnreachable): // a firewall has that word for us, too
		if e.restoring() && w.Attempts >= patience {
			e.abort(err)
		}
		if !e.restoring() {
			return e.giveUp(w.Key, "permission: "+err.Error(), err)
		}
	case errors.Is(err, tree.ErrBlocked), errors.Is(err, store.ErrKeyConflict):
		if w.Attempts >= patience {
			return e.giveUp(w.Key, "blocked: a file and a folder have this name", err)
		}
		return result{outcome: dirty.Blocked, reason: "a file and a folder have this name"}
	case errors.Is(err, ErrTorn), errors.Is(err, tree.ErrChanged):
		e.metrics.TornReads()
		if w.Unrests == 0 && !w.Restless {
			return result{outcome: dirty.Unrest, reason: "changed while it was read"}
		}
		// It is published when it rests or the app has stopped: an old state is
		// better than one that never was.
		return result{outcome: dirty.Unrest, reason: "never rests: it changes while it is read"}
	case errors.Is(err, store.ErrFull):
		e.storeFull(err)
		if e.tooMany(w.Key) {
			return e.giveUp(w.Key, "store full: "+err.Error(), err)
		}
		e.state.failAt(w.Key, err)
		if errors.Is(err, errNoRoomYet) {
			return result{outcome: dirty.Deferred, reason: err.Error()}
		}
		return result{outcome: dirty.Failed, reason: err.Error()}
	case errors.Is(err, store.ErrAccessDenied) && !e.restoring() && e.admitted(ctx):
		kind = "denied: "
		lasting = err
		refused = true
		e.refused.refuse(w.Key)
	case storeWide(err):
		if e.restoring() && fatalForRestore(err) {
			e.abort(err)
		}
		e.failed(err)
		return result{outcome: dirty.Retry, reason: err.Error()}
	case errors.Is(err, fs.ErrNotExist): // gone between two looks, as temporary files are
		return result{outcome: dirty.Unrest, reason: "went away while it was looked at"}
	case errors.Is(err, tree.ErrFull):
		kind = "volume full: "
		if e.restoring() && !e.roomToCome(w) {
			e.tooSmall.Do(func() { e.abort(e.sayRoom(ctx, err)) })
		}
		lasting = err
	case errors.Is(err, syscall.EROFS):
		kind = "volume read-only: "
		if e.restoring() {
			e.abort(err)
		}
		lasting = fmt.Errorf("the volume is read-only: %w", err)
	case errors.Is(err, store.ErrDamaged):
		if e.restoring() && w.Attempts >= 2 {
			e.abort(err)
		}
		lasting = err
	default:
		if e.restoring() && w.Attempts >= patience {
			e.abort(err)
		}
	}
	if e.tooMany(w.Key) {
		return e.giveUp(w.Key, kind+err.Error(), err)
	}
	if lasting != nil {
		e.state.failAt(w.Key, lasting)
	}
	level := slog.LevelDebug
	if n := w.Attempts + 1; n&(n-1) == 0 { // 1, 2, 4, 8 …: said, not repeated for ever
		level = slog.LevelWarn
	}
	e.log.Log(ctx, level, "path failed; will try again", "path", w.Key, "attempt", w.Attempts+1, "error", err)
	if _, pull := errors.AsType[*pullError](err); pull {
		return result{outcome: dirty.Missed, reason: err.Error(), refused: refused}
	}
	return result{outcome: dirty.Failed, reason: err.Error(), refused: refused}
}

// tooMany reports whether so many paths fail that key, which does as well, is not
// kept to be tried again: those that are tell when it is over.
func (e *Engine) tooMany(key string) bool {
	many := !e.restoring() && e.dirty.Waiting() >= e.failingMax && !e.state.holds(key)
	if many {
		e.crowdedOut.Store(true)
	}
	return many
}

// takesAgain: the store has taken an upload, or a deletion, which makes room.
// When most of those got through that had failed and were kept, it is time to
// find the others.
func (e *Engine) takesAgain() {
	e.room.ok()
	if e.crowdedOut.Load() && e.dirty.Waiting() <= e.failingMax/2 && e.crowdedOut.Swap(false) {
		e.requestScan("")
	}
}

// roomToCome reports whether a restore into a full volume has reason to go on:
// an earlier one has left files there that the bucket has no more, and they go
// once everything was listed; which does not end where too much waits for room.
func (e *Engine) roomToCome(w dirty.Work) bool {
	e.mu.Lock()
	kept, listing := e.kept, e.scanning > 0
	e.mu.Unlock()
	forEver := listing && e.dirty.Stuck()
	return kept && e.state.snapshot().HaltedDeletes == 0 &&
		(w.Attempts < patience || !forEver && (listing || e.dirty.Deleting()))
}

// errNoRoomYet: the store was full a moment ago, and is asked again later.
var errNoRoomYet = fmt.Errorf("not tried again yet: %w", store.ErrFull)

// tryUpload is upload, if the store is not known to be full, and sees to it that
// a file that is not in the bucket under its new name keeps its old one.
func (e *Engine) tryUpload(ctx context.Context, w dirty.Work, item plan.Item) (r result, err error) {
	if e.room.closed() {
		err = errNoRoomYet
	} else {
		err = e.refused.uploads.mayAsk(item.Key)
	}
	if err == nil {
		if r, err = e.upload(ctx, w, item); err == nil {
			e.takesAgain()
		}
	}
	if err != nil {
		e.notSent(item)
	}
	return r, err
}

// storeFull notes that an upload found no room. Nothing else has to wait for
// that, least of all the deletions that make room.
func (e *Engine) storeFull(err error) {
	if errors.Is(err, errNoRoomYet) {
		return
	}
	if wait, fresh := e.room.fail(); fresh {
		e.log.Warn("store does not take part; will try again", "error", err, "wait", wait.Round(time.Millisecond))
	}
}
