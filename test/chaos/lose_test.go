package chaos

import (
	"fmt"
	"time"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

// isolate makes sure that nothing of a dead syncer is still on its way.
func (w *world) isolate() {
	w.path.Cut()
	w.flushing.Wait()
	time.Sleep(200 * time.Millisecond)
	w.path.Mend(w.t)
}

type manner bool

const (
	suddenly               manner = false
	everythingAcknowledged manner = true
)

// loseNode takes volume and state away and restores into new ones, while that
// is interrupted now and then.
func (w *world) loseNode(how manner) {
	w.t.Helper()
	w.node.kill()
	w.isolate()
	bucket := w.whatIsLeft()
	w.note("the node is lost")
	w.mu.Lock()
	if how == everythingAcknowledged && !w.record.Acknowledged() {
		w.mu.Unlock()
		w.fatal("the checker is wrong: not everything is acknowledged")
	}
	w.mu.Unlock()
	old := w.node
	defer func() { old.remove() }()
	if w.rng.IntN(4) == 0 {
		w.tooSmall(bucket)
	}
	w.node = w.newNode(w.volumeSize())
	if direct := w.rng.IntN(4) == 0; direct {
		w.node.start()
		w.node.await("restored", func(c condition) bool { return c.Restored })
		w.note("sync says that it has restored")
	} else {
		w.restoreWithTroubles(bucket)
	}
	w.app.dir = w.home()
	found, err := survey(w.node.volume)
	if err != nil {
		w.fatal(err.Error())
	}
	w.mu.Lock()
	list := w.record.Check(found)
	w.mu.Unlock()
	w.demand("after the loss of the node", list, w.node.volume)
	w.mu.Lock()
	w.record.Became(w.since(), found, "restored")
	w.mu.Unlock()
	w.same("after a restore")
	w.count("restores checked")
	w.node.start()
}

// restoreWithTroubles restores into the node's empty volume while the way is
// bad and the restore is killed, or the node lost once more.
func (w *world) restoreWithTroubles(bucket map[string]record.State) {
	w.t.Helper()
	tr := w.startTroubles(false)
	for range w.rng.IntN(4) {
		c := w.startRestore()
		select {
		case <-c.done:
		case <-time.After(time.Duration(w.rng.Int64N(int64(700 * time.Millisecond)))):
			c.kill()
			w.note("restore is killed")
			w.count("restore killed")
		}
		w.leftByRestore(bucket)
		if w.rng.IntN(5) == 0 {
			w.node.remove()
			w.node = w.newNode(w.volumeSize())
			w.note("the node is lost again")
		}
	}
	c := w.startRestore()
	select {
	case <-c.done:
	case <-time.After(time.Duration(w.rng.Int64N(int64(2 * time.Second)))):
	}
	tr.stop()
	w.finishRestore(c)
}

func (w *world) startRestore() *child {
	c, err := startChild(w.log, w.binary, w.node.command("restore")...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.note("restore starts")
	return c
}

// restore runs with nothing in the way.
func (w *world) restore(when string) {
	w.t.Helper()
	w.note("restore, " + when)
	w.finishRestore(w.startRestore())
}

func (w *world) finishRestore(c *child) {
	w.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.kill()
		w.fatal("restore does not end")
	}
	w.note(fmt.Sprintf("restore has ended with code %d", c.code))
	if c.code == contract.ExitDamaged && w.shared != nil {
		// A connection broke in the middle of an object, which another volume
		// then deleted: just so does MinIO drop what is damaged. Then the pod is
		// to be replaced.
		w.count("pods replaced")
		w.node.remove()
		w.node = w.newNode(0)
		w.finishRestore(w.startRestore())
		return
	}
	if c.code != contract.ExitOK {
		w.fatal(fmt.Sprintf("restore has ended with code %d", c.code))
	}
}

// tooSmall restores into a volume without the room, which must be said.
func (w *world) tooSmall(bucket map[string]record.State) {
	w.t.Helper()
	bytes, _ := w.app.weight()
	const least = 8 << 20
	if bytes < least {
		return
	}
	old := w.node
	w.node = w.newNode(bytes / 2)
	defer func() { w.node.remove(); w.node = old }()
	if !w.node.small {
		return
	}
	c := w.startRestore()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.kill()
		w.fatal("restore into a volume that is too small does not end")
	}
	w.note(fmt.Sprintf("restore into half the room has ended with code %d", c.code))
	w.count("volumes too small")
	w.leftByRestore(bucket)
	found, err := survey(w.node.volume)
	if err != nil {
		w.fatal(err.Error())
	}
	w.mu.Lock()
	list := w.record.Check(found)
	w.mu.Unlock()
	if c.code != contract.ExitVolumeFull && (c.code != contract.ExitOK || len(list) > 0) {
		w.fatal(fmt.Sprintf("restore into a volume that is too small ended with code %d and %d paths missing", c.code, len(list)))
	}
}
