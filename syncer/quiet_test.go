package syncer

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// TestFolderThatWasEmpty: a folder that has an object from when it was empty is
// no difference that each scan finds anew; a stop would never see quiet.
func TestFolderThatWasEmpty(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	n.start()
	n.write("stays", "x")
	n.do(os.Mkdir(n.path("d"), 0o755))
	n.flush()
	n.write("d/x", "x")
	n.flush()
	n.flush() // the folder itself has been looked at
	mark := n.engine.dirty.Mark()
	n.do(n.engine.scanNow(t.Context()))
	if n.engine.dirty.Mark() != mark {
		t.Error("a scan finds a difference where there is none")
	}
	n.remove("d")
	n.flush()
	n.hasKeys(1)
	n.mustStop()
}

// TestShutdownQuiet: a stop that waits for quiet ends when it is quiet, not
// when the time for the last flush is over.
func TestShutdownQuiet(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	n := r.node(t, func(cfg *Config) {
		cfg.ShutdownQuiet, cfg.FlushTimeout = 300*time.Millisecond, 4*testPatience
	})
	n.start()
	for i := range 200 {
		n.write(fmt.Sprintf("d%d/e%d/%d", i%7, i%5, i), "x")
	}
	n.mustStop() // within half of that time
	n.verify()
}
