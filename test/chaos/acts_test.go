package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

// act lets the app work while things fail, and ends in one of several ways.
func (w *world) act() {
	w.t.Helper()
	w.node.start()
	w.app.dir = w.home()
	tr := w.startTroubles(true)
	for range 20 + w.rng.IntN(100) {
		if w.hasFailed() {
			break
		}
		w.app.op()
		if w.rng.IntN(15) == 0 {
			w.flushSoon()
		}
	}
	tr.stopProcess() // from here on the syncer is ours
	end := w.chooseEnding()
	w.note("the act ends: " + end.name)
	w.count(end.name)
	end.do(w, tr)
	tr.stop()
	w.stopIfFailed()
}

// ending is how an act ends. The way to the store is bad until it says
// otherwise.
type ending struct {
	name   string
	weight int
	do     func(*world, *troubles)
}

func endings() []ending {
	return []ending{
		{"calm", 4, func(w *world, tr *troubles) { tr.stop(); w.calmEnd() }},
		{"shutdown", 4, (*world).shutdown},
		{"kill and restart", 2, (*world).killAndRestart},
		{"state lost", 2, (*world).loseState},
		{"node lost", 5, func(w *world, tr *troubles) {
			w.node.kill()
			tr.stop()
			w.loseNode(suddenly)
		}},
		{"node drained", 2, func(w *world, tr *troubles) {
			tr.stop()
			w.calmEnd()
			w.loseNode(everythingAcknowledged)
		}},
	}
}

func (w *world) chooseEnding() ending {
	total := 0
	for _, e := range endings() {
		total += e.weight
	}
	n := w.rng.IntN(total)
	for _, e := range endings() {
		if n -= e.weight; n < 0 {
			return e
		}
	}
	panic("weights do not add up")
}

// flushSoon asks for a flush beside everything else, unless one is under way.
// Whatever had happened before the call is acknowledged if it succeeds.
func (w *world) flushSoon() {
	if !w.flushBusy.CompareAndSwap(false, true) {
		return
	}
	n, m := w.node, w.moment()
	w.flushing.Go(func() {
		defer w.flushBusy.Store(false)
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
		defer cancel()
		if err := n.flush(ctx); err == nil {
			w.acknowledge(m, fmt.Sprintf("flush has succeeded: all up to #%d is acknowledged", m))
		}
	})
}

// settle flushes until everything is acknowledged. The app rests and nothing
// is broken any more.
func (w *world) settle() {
	w.t.Helper()
	w.acknowledge(w.flushAll(), "flush has succeeded: everything is acknowledged")
}

// flushAll flushes until that succeeds and returns the moment that it covers.
func (w *world) flushAll() record.Moment {
	w.t.Helper()
	w.node.start()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	m := w.moment()
	var more []string
	for {
		w.stopIfFailed()
		err := w.node.flush(ctx, more...)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			w.fatal(fmt.Sprintf("not everything reaches the bucket, though nothing is in the way: %v", err))
		}
		if s, statusErr := w.node.status(ctx); statusErr == nil && s.HaltedDeletes > 0 {
			w.note(fmt.Sprintf("%d deletions are held back; they are meant", s.HaltedDeletes))
			more = []string{"--confirm-deletes"}
			continue
		}
		time.Sleep(100 * time.Millisecond) // it may still be starting
	}
	w.flushing.Wait()
	return m
}

// calmEnd flushes with nothing in the way: volume and bucket must be the same
// then, and be what the app made.
func (w *world) calmEnd() {
	w.t.Helper()
	w.settle()
	w.same("after a flush with nothing in the way")
	w.count("exact comparisons")
}

// same demands that record, volume and bucket are one.
func (w *world) same(when string) {
	w.t.Helper()
	volume, err := survey(w.node.volume)
	if err != nil {
		w.fatal(err.Error())
	}
	w.mu.Lock()
	list := w.record.Equal(volume)
	w.mu.Unlock()
	w.demand("the volume is not what the app made of it, "+when, list, w.node.volume)
	bucket, err := w.auditor.look(w.t.Context())
	w.stopIfFailed()
	if err != nil {
		w.fatal("read the bucket: " + err.Error())
	}
	w.demand("the bucket is not as the volume, "+when, differ(volume, bucket), "")
	if _, err := w.node.ask(w.t.Context(), w.node.command("verify")...); err != nil {
		w.fatal(fmt.Sprintf("%s volume and bucket are the same, but %v", when, err))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record.Forget()
}

// shutdown ends sync by SIGTERM while the way to the store may be bad. With
// exit code 0 everything is acknowledged. Then it is started again.
func (w *world) shutdown(tr *troubles) {
	w.t.Helper()
	w.node.start()
	w.node.await("answering", func(condition) bool { return true }) // before that it knows no signals
	m := w.moment()
	code := w.stopInTime(func() {
		time.Sleep(time.Duration(w.rng.Int64N(int64(1500 * time.Millisecond))))
		tr.stop()
	})
	w.afterShutdown(code, m)
	if w.rng.IntN(2) == 0 && !w.node.running() {
		w.restore("again, with volume and state kept")
	}
	w.node.start()
}

// stopInTime ends sync by SIGTERM, while something else is done, and returns
// its exit code.
func (w *world) stopInTime(meanwhile func()) int {
	w.t.Helper()
	code := make(chan int, 1)
	go func() { code <- w.node.stop() }()
	meanwhile()
	select {
	case c := <-code:
		return c
	case <-time.After(patience):
		w.node.dump()
		w.fatal("sync does not end")
		return -1
	}
}

func (w *world) afterShutdown(code int, m record.Moment) {
	w.t.Helper()
	if code == contract.ExitOK {
		w.acknowledge(m, "sync has ended with code 0: everything is acknowledged")
		w.same("after a clean shutdown")
		w.count("clean shutdowns")
		return
	}
	// The only reason there can be is deletions that a person has to confirm.
	text, err := os.ReadFile(w.log.Name())
	if err != nil || !bytes.Contains(text[max(0, len(text)-8<<10):], []byte("are held back")) {
		w.fatal(fmt.Sprintf("sync has ended with code %d, though nothing was in the way", code))
	}
	w.settle()
	w.count("unclean shutdowns")
}

// killAndRestart is the crash of the syncer, or of its container.
func (w *world) killAndRestart(tr *troubles) {
	w.t.Helper()
	w.node.kill()
	tr.stop()
	w.whatIsLeft()
	if w.rng.IntN(3) == 0 {
		w.restore("with volume and state kept")
	}
	w.node.start()
	if w.rng.IntN(2) == 0 {
		w.calmEnd()
	}
}

// loseState is the loss of what the syncer remembers, and of that alone.
//
// A swap of a file and a folder that is not in the bucket yet would then be a
// conflict of two kinds, of which one side stays where it is, and is reported.
func (w *world) loseState(tr *troubles) {
	w.t.Helper()
	w.mu.Lock()
	swapped := w.record.Swapped()
	w.mu.Unlock()
	if swapped {
		tr.stop()
		w.settle()
	}
	w.node.kill()
	tr.stop()
	w.isolate()
	w.whatIsLeft()
	if err := os.RemoveAll(w.node.state); err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(w.node.state, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.note("the state is lost")
	if w.rng.IntN(2) == 0 {
		w.restore("with the volume kept and the state lost")
	}
	w.comeToTerms("after the loss of the state")
}

// comeToTerms lets a syncer that does not remember everything get in step with
// the bucket, and looks at what came of the volume.
func (w *world) comeToTerms(when string) {
	w.t.Helper()
	w.flushAll()
	found, err := survey(w.node.volume)
	if err != nil {
		w.fatal(err.Error())
	}
	w.mu.Lock()
	list := w.record.Recovered(found)
	w.mu.Unlock()
	w.demand(when, list, w.node.volume)
	w.mu.Lock()
	w.record.Became(w.since(), found, "found "+when)
	w.mu.Unlock()
	w.same(when)
}
