// Command syncer keeps a folder and a prefix of an S3 bucket the same. It is
// what runs in the containers that minio-sidecar adds to a pod, and runs as
// well by hand.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

func main() {
	tuneMemory()
	os.Exit(newProgram().run(context.Background(), os.Args[1:]))
}

func newProgram() *program {
	return &program{
		stdout: os.Stdout, stderr: os.Stderr, lookupEnv: os.LookupEnv, userCache: os.UserCacheDir,
		termination: contract.TerminationMessagePath,
	}
}

// tuneMemory trades some processor time for memory, of which every injected
// pod pays its share: a syncer works in bursts and idles for hours. GOGC and
// GOMEMLIMIT in the environment win.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		// Collect when the heap has grown by half, rather than doubled.
		debug.SetGCPercent(50)
	}
	// Near the container's limit collect more often, instead of being killed.
	// Outside of a cgroup there is no limit to respect, hence no error to tell.
	_, _ = memlimit.Set(memlimit.WithRatio(0.85))
}
