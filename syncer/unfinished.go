package syncer

import (
	"context"
	"maps"
	"sync"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// unfinished are uploads in parts that nobody works on any more, and of which
// it is not certain that nothing is left in the bucket: a process was killed in
// the middle of them, or the store did not answer when they were given up. The
// base knows them by the ids that the store gave them, so that no other
// writer's upload is taken for one of them.
type unfinished struct {
	mu  sync.Mutex
	ids map[string]string // objects by id
}

func (u *unfinished) add(ids map[string]string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ids == nil {
		u.ids = map[string]string{}
	}
	maps.Copy(u.ids, ids)
}

func (u *unfinished) drop(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.ids, id)
}

func (u *unfinished) all() map[string]string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.ids)
}

// inParts has an upload written down for as long as it may have parts in the
// bucket. What the function it returns finds unfinished waits for abortUnfinished.
func (e *Engine) inParts(u *store.Upload) (over func()) {
	begun := map[string]string{}
	u.Begun = func(id string) error {
		begun[id] = u.Key
		if err := e.base.NoteUnfinished(u.Key, id); err != nil { // this process knows it all the same
			e.log.Debug("could not write down an upload in parts: if this process is killed, what it leaves is dropped after a day", "error", err)
		}
		e.log.Debug("began an upload in parts", "object", u.Key)
		return nil
	}
	u.Ended = func(id string) {
		delete(begun, id)
		e.forgetUnfinished(id)
	}
	return func() {
		if len(begun) > 0 {
			e.unfinished.add(begun)
		}
	}
}

func (e *Engine) forgetUnfinished(id string) {
	if err := e.base.ForgetUnfinished(id); err != nil {
		e.log.Debug("could not cross out an upload in parts; it is aborted once more, which does no harm", "error", err)
	}
}

// abortUnfinished aborts what was left unfinished, as far as the store answers.
func (e *Engine) abortUnfinished(ctx context.Context) error {
	for id, object := range e.unfinished.all() {
		if err := e.store.AbortUpload(ctx, object, id); err != nil {
			e.log.Debug("could not abort an unfinished upload; will try again", "object", object, "error", err)
			return err
		}
		e.unfinished.drop(id)
		e.forgetUnfinished(id)
		e.log.Info("aborted an unfinished upload", "object", object)
	}
	return nil
}
