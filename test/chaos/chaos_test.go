package chaos

import (
	"flag"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

var (
	seedFlag     = flag.Uint64("chaos.seed", 1, "what the choices depend on; 0: a fresh one")
	durationFlag = flag.Duration("chaos.duration", 20*time.Second, "how long to go on beginning new acts")
	binaryFlag   = flag.String("chaos.binary", "", "the syncer to check; built from the sources if empty")
)

// TestChaos is a play of acts: the app works while things fail, then the act
// ends in one of several ways, each followed by checks.
func TestChaos(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again with: go test ./test/chaos -run TestChaos -chaos.seed=%d -chaos.duration=%s", seed, *durationFlag)
	w := newWorld(t, seed, syncerBinary(t))
	for acts := 0; acts == 0 || time.Since(w.began) < *durationFlag; acts++ {
		w.act()
	}
	w.calmEnd()
	w.loseNode(everythingAcknowledged)
	t.Log(w.counts.String())
}

// syncerBinary is the program under test, as it ships: without the race
// detector, which would slow down what is to be raced.
func syncerBinary(t *testing.T) string {
	t.Helper()
	if *binaryFlag != "" {
		return *binaryFlag
	}
	binary := filepath.Join(t.TempDir(), "syncer")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/syncer")
	cmd.Dir = testenv.ModuleRoot(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the syncer: %v\n%s", err, out)
	}
	return binary
}
