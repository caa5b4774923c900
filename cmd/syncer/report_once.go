package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// reportedName is the file in the state directory by which a restore knows that
// it has said already why it waits.
const reportedName = "reported"

// unanswered ends a restore so that its reason can be seen.
type unanswered struct{ message string }

func (u *unanswered) Error() string { return u.message }
func (u *unanswered) Unwrap() error { return store.ErrUnreachable }

// reportOnce returns a context that ends when the store has not answered for
// the time after, the first time that this happens with this stateDir. A
// container that waits tells nobody why: Kubernetes shows what a container said
// at its end. So one that is started again ends once, and then waits in place,
// where it does not suffer the growing pauses between restarts. stop must be
// called. It does nothing if after is 0.
func reportOnce(ctx context.Context, after time.Duration, stateDir string, now func() status.Status) (_ context.Context, stop func()) {
	note := filepath.Join(stateDir, reportedName)
	if _, err := os.Stat(note); after <= 0 || !errors.Is(err, fs.ErrNotExist) {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		const looks = 8
		ticker := time.NewTicker(max(after/looks, time.Millisecond))
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			s := now()
			if s.Condition != status.Unreachable || time.Since(s.Since) < after {
				continue
			}
			if err := os.WriteFile(note, nil, 0o600); err != nil {
				return // it would end again and again
			}
			cancel(&unanswered{fmt.Sprintf("%s (for %s; waiting for it from now on)", s.Message, after)})
			return
		}
	})
	return ctx, func() {
		cancel(nil)
		watching.Wait()
	}
}
