package syncer

import (
	"errors"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
)

// pullError: what failed was to bring the bucket's state into the volume. Only a
// listing shows that it is still to be done.
type pullError struct{ error }

func (e *pullError) Unwrap() error { return e.error }

func pulling(r result, err error) (result, error) {
	if err != nil {
		err = &pullError{err}
	}
	return r, err
}

// giveUp leaves a path to the scan or listing that finds it again.
func (e *Engine) giveUp(key, reason string, err error) result {
	e.unsyncable(key, reason)
	if _, pull := errors.AsType[*pullError](err); pull {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.listAt.IsZero() {
			e.listAt = time.Now().Add(e.cfg.ScanInterval)
		}
	}
	return result{outcome: dirty.Settled}
}

// unblocked says that something went from the volume. What could not be brought
// there may have its place now.
func (e *Engine) unblocked() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.listAt.IsZero() {
		e.listAt = time.Now()
	}
}

// listDue reports whether the bucket is to be listed for what was given up.
func (e *Engine) listDue(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.listAt.IsZero() && !now.Before(e.listAt)
}

// listing: one begins that finds all that was given up before.
func (e *Engine) listing() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.listAt = time.Time{}
}
