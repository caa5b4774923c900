package syncer

import (
	"fmt"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// TestShutdownQuiet: a stop that waits for quiet ends when it is quiet, not
// when the time for the last flush is over.
func TestShutdownQuiet(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	n := r.node(t, func(cfg *Config) {
		cfg.ShutdownQuiet, cfg.FlushTimeout = 300*time.Millisecond, 2*testPatience
	})
	n.start()
	for i := range 200 {
		n.write(fmt.Sprintf("d%d/e%d/%d", i%7, i%5, i), "x")
	}
	n.mustStop() // within testPatience
	n.verify()
}
