package syncer

import (
	"fmt"
	"sync"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

const (
	// refusedMost is how many paths the store may refuse in a row, while it lets
	// us in, before they are tried one at a time.
	refusedMost = 16
	// refusedPause is the cap of the time between two of them.
	refusedPause = 5 * time.Second
)

// errNotAsked: the store has refused this path before, and many others since.
var errNotAsked = fmt.Errorf("not tried again yet: %w", store.ErrAccessDenied)

// refusals bound what is asked of a store that refuses one thing to do, such as
// to write, or all of one folder. Many paths fail then, and each would be tried
// again for ever by itself. So once many were refused they share one gate. Paths
// that were not refused do not ask here: what is true of one folder says nothing
// of another, nor do their successes open the gate.
//
// There are some for each thing to do: where deletions are refused, a file that
// has the name of one that was to be deleted is uploaded nevertheless.
type refusals struct {
	mu     sync.Mutex
	gate   *gate
	asked  map[string]struct{} // looks under way that were let through
	keys   map[string]struct{} // of those that were refused and are tried again
	row    int                 // refused since one of these got through
	asking string              // the one that is tried while the gate is there
}

func newRefusals() *refusals {
	return &refusals{gate: newGate(refusedPause), asked: map[string]struct{}{}, keys: map[string]struct{}{}}
}

// mayAsk returns nil if key may be tried now.
func (r *refusals) mayAsk(key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, refused := r.keys[key]; refused && r.row >= refusedMost && r.asking != key {
		if r.asking != "" || r.gate.closed() {
			return errNotAsked
		}
		r.asking = key
	}
	r.asked[key] = struct{}{}
	return nil
}

// refuse notes that the store has refused key, if that is what was asked for.
func (r *refusals) refuse(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, asked := r.asked[key]; !asked {
		return
	}
	r.keys[key] = struct{}{}
	if r.row++; r.row >= refusedMost {
		r.gate.fail()
	}
}

// ended says how a look at key has ended: it got through, or it is not kept to
// be tried again, or, if neither, nobody knows more than before. It returns the
// keys that need not wait any longer.
func (r *refusals) ended(key string, through, kept bool) (free []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking == key {
		r.asking = ""
	}
	_, asked := r.asked[key]
	delete(r.asked, key)
	_, refused := r.keys[key]
	if !refused || !through && kept {
		return nil
	}
	delete(r.keys, key)
	if !through || !asked {
		return nil
	}
	r.row = 0
	if r.gate.ok() {
		for key := range r.keys {
			free = append(free, key)
		}
	}
	return free
}

// refused are the refusals of each thing to do with the store.
type refused struct{ uploads, deletions, downloads *refusals }

func newRefused() refused { return refused{newRefusals(), newRefusals(), newRefusals()} }

func (r refused) all() []*refusals { return []*refusals{r.uploads, r.deletions, r.downloads} }

func (r refused) refuse(key string) {
	for _, one := range r.all() {
		one.refuse(key)
	}
}

func (r refused) ended(key string, through, kept bool) (free []string) {
	for _, one := range r.all() {
		free = append(free, one.ended(key, through, kept)...)
	}
	return free
}

// mayAct returns nil if it is of use to do what the plan says of key: it can be
// recorded, and the store has not refused it a moment ago.
func (e *Engine) mayAct(r *refusals, key string) error {
	if err := e.canRecord(); err != nil {
		return err
	}
	return r.mayAsk(key)
}
