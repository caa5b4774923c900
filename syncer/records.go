package syncer

import (
	"errors"
	"sync"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/base"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// records tells whether the base can be written. As long as it cannot, uploads
// go on, because the bucket may be all that is left when the node is lost, but
// none is acknowledged; a state that was sent is not sent again, and what would
// bring nothing into the bucket waits.
type records struct {
	gate  *gate
	check sync.Mutex // held while one finds out for all

	mu   sync.Mutex
	err  error                        // why it cannot be written, nil if it can
	sent map[string]entry.Fingerprint // the states that are in the bucket and not in the base
}

func newRecords() *records {
	return &records{gate: newGate(retryMost), sent: map[string]entry.Fingerprint{}}
}

// failing returns why the base cannot be written, nil if it can.
func (r *records) failing() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *records) set(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// keep notes that the bucket has the state b of key, and forgets it if b is nil.
func (r *records) keep(key string, b *entry.Base) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b == nil {
		delete(r.sent, key)
	} else {
		r.sent[key] = b.Local
	}
}

// hasSent reports whether there is a state of key in the bucket that is not in
// the base, and whether that is l.
func (r *records) hasSent(key string, l *entry.Local) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	state, ok := r.sent[key]
	return ok && (l == nil || l.Fingerprint == state)
}

// notRecorded notes that the base could not be written.
func (e *Engine) notRecorded(err error) {
	if !errors.Is(err, base.ErrUnwritable) {
		return // it has ended, or never takes such a key
	}
	e.records.set(err)
	e.state.unwritable(err)
	if wait, fresh := e.records.gate.fail(); fresh {
		e.log.Warn("could not record what was synced; will try again", "error", err, "wait", wait.Round(time.Millisecond))
	}
}

// canRecord returns nil if what is about to be done can be recorded, as far as
// anybody knows. It is asked before what would be done in vain otherwise, and
// after what was recorded: one change may fit in where the next one does not.
func (e *Engine) canRecord() error {
	if err := e.records.failing(); err == nil || e.records.gate.closed() {
		return err
	}
	e.records.check.Lock()
	defer e.records.check.Unlock()
	if err := e.records.failing(); err == nil || e.records.gate.closed() { // by now
		return err
	}
	if err := e.base.Writable(); err != nil {
		e.notRecorded(err)
		return err
	}
	e.records.set(nil)
	e.records.gate.ok()
	e.state.unwritable(nil)
	return nil
}

// mayLook returns nil unless all that there is to do about key is to write down
// what was sent, and that cannot be done.
func (e *Engine) mayLook(key string) error {
	if e.records.failing() == nil || !e.records.hasSent(key, nil) {
		return nil
	}
	l, _, ok, err := e.tree.Lookup(entry.Path(key))
	if err == nil && ok && !e.records.hasSent(key, &l) {
		return nil // it was changed since
	}
	return e.canRecord()
}

// record has the base say b, or that there is no key, beside what it is told of
// the path under work.
func (e *Engine) record(key string, b *entry.Base) error {
	var done batch
	if b != nil {
		e.base.Put(*b, done.add())
	} else {
		e.base.Delete(key, done.add())
	}
	err := done.wait()
	if err != nil {
		e.notRecorded(err)
		return err
	}
	_ = e.canRecord()
	return nil
}
