package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience bounds every wait. It is long because a loaded machine is no fault,
// and no test waits longer than it must.
const patience = 2 * time.Minute

// syncerBinary is the program under test, built by TestMain.
var syncerBinary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Some tests run it as another user.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	syncerBinary = filepath.Join(dir, "syncer")
	build := exec.Command("go", "build", "-o", syncerBinary, "../../cmd/syncer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the syncer: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
