package syncer

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func flushIsABarrier(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	for i := range 20 {
		name := fmt.Sprintf("barrier/%02d", i)
		a.write(name, "durable")
		a.flush()
		if !slices.Contains(r.keys(t, "app/"), name) {
			t.Fatalf("%s is not in the bucket after a flush", name)
		}
	}
}

// A log that is appended to all the time does not hold up a flush, and what
// was written before the flush is in the bucket after it.
func logIsFlushed(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	f, err := os.Create(a.path("app.log"))
	a.do(err)
	defer f.Close()
	var lines atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			fmt.Fprintf(f, "line %08d\n", i)
			lines.Store(int64(i + 1))
			time.Sleep(200 * time.Microsecond)
		}
	}()
	defer func() { close(stop); <-stopped }()
	const line = int64(len("line 00000000\n"))
	for range 3 {
		a.await("written on", func() bool { return lines.Load() > 200 })
		written := lines.Load()
		a.flush()
		content := r.get(t, "app/app.log")
		if got := int64(len(content)); got < written*line {
			t.Errorf("%d bytes are in the bucket after a flush, %d had been written before", got, written*line)
		}
		for i := range int64(len(content)) / line {
			if want := fmt.Sprintf("line %08d\n", i); string(content[i*line:(i+1)*line]) != want {
				t.Fatalf("line %d is %q", i, content[i*line:(i+1)*line])
			}
		}
	}
}

// A flush, or a stop, right after the start covers deletions too: they need a
// complete listing first, so both wait for it.
func flushAtOnce(t *testing.T, r *rig) {
	a := r.node(t)
	a.start()
	a.write("f", "1")
	a.write("g", "2")
	a.write("h", "3")
	a.mustStop()
	for i, end := range []func(){a.flush, a.mustStop} {
		a.startOnly()
		a.remove([]string{"f", "g"}[i])
		end()
		if keys := r.keys(t, "app/"); len(keys) != 2-i {
			t.Errorf("objects: %v", keys)
		}
		if a.cancel != nil {
			a.mustStop()
		}
	}
}
