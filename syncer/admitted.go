package syncer

import (
	"context"
	"sync"
	"time"
)

// admissionAge is how long an answer about all of the store holds: each of many
// refusals would ask otherwise.
const admissionAge = 2 * time.Second

// admission is what the store said when it was last asked whether it lets us in.
type admission struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// admitted reports whether the store lets us in. If it does, what it refused is
// one object, or one thing to do, and concerns no other.
func (e *Engine) admitted(ctx context.Context) bool {
	a := &e.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.at) >= admissionAge {
		a.err = e.store.CheckBucket(ctx)
		a.at = time.Now()
	}
	return a.err == nil
}
