package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/minio-sidecar/minio-sidecar/hack/internal/loopback"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// stage is what all nodes share.
type stage struct {
	*teller
	dir    string // everything that the demo makes is in here
	syncer string
	store  *loopback.MinIO
	keys   string
}

// node plays a node of a cluster: a folder for the volume, another for the
// sidecar's memory.
type node struct {
	*stage
	name   string
	volume string
	sync   *loopback.Process
}

func (s *stage) newNode(name string) (*node, error) {
	n := &node{stage: s, name: name, volume: filepath.Join(s.dir, name, "data")}
	for _, dir := range []string{n.volume, n.state()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *node) state() string { return filepath.Join(n.dir, n.name, "state") }

// env is what the webhook would put into the containers.
func (n *node) env() []string {
	return []string{
		"HOME=" + n.dir,
		contract.EnvName(contract.FlagBucket) + "=gallery",
		contract.EnvName(contract.FlagEndpoint) + "=" + n.store.Endpoint,
		contract.EnvName(contract.FlagCredentialsDir) + "=" + n.keys,
		contract.EnvName(contract.FlagCreateBucket) + "=true",
		contract.EnvName(contract.FlagPath) + "=" + n.volume,
		contract.EnvName(contract.FlagStateDir) + "=" + n.state(),
		contract.EnvName(contract.FlagMetricsAddress) + "=0", // none: ports are for pods
	}
}

// run runs a command of the syncer to its end and returns what it printed and
// how long it took.
func (n *node) run(ctx context.Context, args ...string) (string, time.Duration, error) {
	began := time.Now()
	command := exec.CommandContext(ctx, n.syncer, args...)
	command.Env = n.env()
	var out, log bytes.Buffer
	command.Stdout, command.Stderr = &out, &log
	if err := command.Run(); err != nil {
		return "", 0, fmt.Errorf("syncer %s on %s: %w\n%s%s", args[0], n.name, err, out.String(), log.String())
	}
	return out.String(), time.Since(began), nil
}

// start starts the sidecar, and waits until it watches the volume, as the
// startup probe in a pod does before the app may start.
func (n *node) start(ctx context.Context) (err error) {
	n.sync, err = loopback.Start(filepath.Join(n.dir, n.name), "syncer-sync", n.syncer, n.env(), "sync")
	if err != nil {
		return err
	}
	for {
		if _, _, err := n.run(ctx, "status"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.sync.Done():
			return fmt.Errorf("syncer sync ended on %s:\n%s", n.name, n.sync.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// close ends the sidecar, if it runs.
func (n *node) close() {
	if n.sync != nil {
		n.sync.Kill()
	}
}

func (n *node) file(name string) string { return filepath.Join(n.volume, name) }
