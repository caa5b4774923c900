package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// node is a volume with what the syncer remembers of it, and the syncer.
type node struct {
	w             *world
	volume, state string
	small         bool // the volume is a small file system of its own

	mu   sync.Mutex
	sync *child // nil: not running
	// ends is set when the running syncer's end is our doing.
	ends bool
}

// newNode makes an empty volume, of size bytes on a file system of its own if
// that is not 0 and can be had.
func (w *world) newNode(size int64) *node {
	w.nodes++
	dir := filepath.Join(w.dir, fmt.Sprintf("%snode-%d", strings.TrimSuffix(w.own, "/"), w.nodes))
	n := &node{w: w, volume: filepath.Join(dir, "volume"), state: filepath.Join(dir, "state")}
	for _, d := range []string{n.volume, n.state} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	if size > 0 && os.Geteuid() == 0 {
		err := syscall.Mount("tmpfs", n.volume, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", size))
		n.small = err == nil
	}
	return n
}

// remove ends the node for good.
func (n *node) remove() {
	n.kill()
	if n.small {
		_ = syscall.Unmount(n.volume, syscall.MNT_DETACH)
	}
	_ = os.RemoveAll(filepath.Dir(n.volume))
}

func (n *node) storeFlags() []string {
	return []string{
		"--bucket=" + n.w.bucket, "--prefix=" + prefix, "--endpoint=" + n.w.endpoint, "--region=" + testenv.Region,
		"--credentials-dir=" + n.w.credentials, "--path=" + n.volume, "--state-dir=" + n.state,
	}
}

func (n *node) command(name string, more ...string) []string {
	args := append([]string{name}, n.storeFlags()...)
	return append(append(args, "--log-level=debug", "--log-format=text"), more...)
}

// start runs sync.
func (n *node) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sync != nil {
		return
	}
	c, err := startChild(n.w.log, n.w.binary, n.command("sync", "--metrics-address=0",
		"--flush-timeout=60s", "--scan-interval="+n.w.scanInterval.String())...)
	if err != nil {
		n.w.fail("start the syncer: " + err.Error())
		return
	}
	n.sync, n.ends = c, false
	n.w.note("sync starts")
	go func() {
		code := c.wait()
		n.mu.Lock()
		unexpected := n.sync == c && !n.ends
		n.mu.Unlock()
		if unexpected {
			n.w.fail(fmt.Sprintf("sync ended by itself with code %d", code))
		}
	}()
}

// take marks the running syncer as about to be ended by us.
func (n *node) take() *child {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.sync
	n.ends = true
	return c
}

func (n *node) drop(c *child) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sync == c {
		n.sync = nil
	}
}

func (n *node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sync != nil
}

// kill ends the syncer without warning.
func (n *node) kill() {
	if c := n.take(); c != nil {
		c.kill()
		n.drop(c)
		n.w.note("sync is killed")
	}
}

// stop ends the syncer as Kubernetes does, and returns its exit code.
func (n *node) stop() int {
	c := n.take()
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	n.w.note("sync gets SIGTERM")
	code := c.wait()
	n.drop(c)
	n.w.note(fmt.Sprintf("sync has ended with code %d", code))
	return code
}

// dump has a syncer that is stuck say in the log where.
func (n *node) dump() {
	if c := n.take(); c != nil {
		_ = c.cmd.Process.Signal(syscall.SIGQUIT) // it may have ended
		time.Sleep(time.Second)
	}
}

// ask runs one of the short commands and returns what it says.
func (n *node) ask(ctx context.Context, args ...string) (out []byte, err error) {
	cmd := exec.CommandContext(ctx, n.w.binary, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err = cmd.Output()
	if err != nil {
		err = fmt.Errorf("syncer %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, err
}

// flush returns nil if everything written before the call is acknowledged.
func (n *node) flush(ctx context.Context, more ...string) error {
	_, err := n.ask(ctx, append([]string{"flush", "--state-dir=" + n.state}, more...)...)
	return err
}

// condition is the part of the status that the checker goes by.
type condition struct {
	Restored      bool   `json:"restored"`
	Condition     string `json:"condition"`
	Pending       int64  `json:"pending"`
	HaltedDeletes int64  `json:"haltedDeletes"`
	Unsyncable    []struct {
		Path   string `json:"path"`
		Reason string `json:"reason"`
	} `json:"unsyncablePaths"`
}

// status asks the running syncer. Its exit code only says whether an app may
// use the volume.
func (n *node) status(ctx context.Context) (s condition, err error) {
	out, err := n.ask(ctx, "status", "--state-dir="+n.state, "-o", "json")
	if len(out) == 0 {
		return s, err
	}
	return s, json.Unmarshal(out, &s)
}

// await asks until ok.
func (n *node) await(what string, ok func(condition) bool) {
	n.w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		n.w.stopIfFailed()
		s, err := n.status(n.w.t.Context())
		if err == nil && ok(s) {
			return
		}
		if time.Now().After(deadline) {
			n.w.fatal(fmt.Sprintf("sync never is %s: %+v, %v", what, s, err))
		}
		time.Sleep(20 * time.Millisecond)
	}
}
