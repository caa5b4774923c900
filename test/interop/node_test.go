package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// prefix is where everything is in the bucket.
const prefix = "some/where/"

// lab is a bucket, for any number of nodes and other clients.
type lab struct {
	t           *testing.T
	server      *testenv.Server
	bucket      string
	credentials string
	tools       tools
}

func newLab(t *testing.T, server *testenv.Server) *lab {
	t.Helper()
	return &lab{
		t: t, server: server, bucket: server.NewBucket(t, false),
		credentials: server.CredentialsDir(t), tools: newTools(t, server),
	}
}

// node is a volume with a syncer of its own, as a pod has.
type node struct {
	*lab
	volume, state string
	endpoint      string   // of a proxy, where a test put one in between
	wrapper       []string // what the syncer is started by
	user          uint32   // as whom, if this test is root's
	log           string
	process       *exec.Cmd
	ended         chan error
}

func (l *lab) node() *node {
	l.t.Helper()
	dir := l.t.TempDir()
	n := &node{
		lab: l, endpoint: l.server.Endpoint,
		volume: filepath.Join(dir, "volume"), state: filepath.Join(dir, "state"), log: filepath.Join(dir, "log"),
	}
	for _, d := range []string{n.volume, n.state} {
		l.check(os.Mkdir(d, 0o755))
	}
	l.t.Cleanup(func() {
		if n.process != nil {
			_ = n.process.Process.Kill() // it may have ended
			<-n.ended
		}
		if l.t.Failed() {
			log, _ := os.ReadFile(n.log)
			l.t.Logf("%s ends with:\n%s", n.log, log[max(0, len(log)-8<<10):])
		}
	})
	return n
}

func (l *lab) check(err error) {
	if err != nil {
		l.t.Helper()
		l.t.Fatal(err)
	}
}

// command is the syncer with the settings of this node.
func (n *node) command(name string, flags ...string) *exec.Cmd {
	settings := map[string]string{
		"BUCKET": n.bucket, "PREFIX": prefix, "ENDPOINT": n.endpoint, "CREDENTIALS_DIR": n.credentials,
		"PATH": n.volume, "STATE_DIR": n.state, "METRICS_ADDRESS": "0",
		// Nothing is found by a scan that no test asks for.
		"SCAN_INTERVAL": "24h", "LOG_LEVEL": "debug", "LOG_FORMAT": "text",
	}
	args := slices.Concat(n.wrapper, []string{syncerBinary, name}, flags)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "TMPDIR=" + os.TempDir()}
	for name, value := range settings {
		cmd.Env = append(cmd.Env, "MINIO_SIDECAR_"+name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if n.user != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: n.user, Gid: n.user}
	}
	return cmd
}

// run runs one of the short commands to its end.
func (n *node) run(name string, flags ...string) (stdout string, err error) {
	n.t.Helper()
	cmd := n.command(name, flags...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("syncer %s: %w\n%s", name, err, complaint.Bytes())
	}
	return out.String(), err
}

func (n *node) mustRun(name string, flags ...string) string {
	n.t.Helper()
	out, err := n.run(name, flags...)
	n.check(err)
	return out
}

func (n *node) restore() { n.t.Helper(); n.mustRun("restore") }

// start runs sync, and returns once nothing is left for it to do.
func (n *node) start(flags ...string) {
	n.t.Helper()
	n.startOnly(flags...)
	n.await("in step", func(s status.Status) bool { return s.Restored && s.Watching })
	n.flush()
}

func (n *node) startOnly(flags ...string) {
	n.t.Helper()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	n.check(err)
	defer log.Close()
	cmd := n.command("sync", flags...)
	cmd.Stdout, cmd.Stderr = log, log
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		// That it dies with us is tied to the thread that forked.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
			close(ended)
		}
	}()
	n.check(<-started)
	n.process, n.ended = cmd, ended
}

// stop ends sync as Kubernetes does. All must be in the bucket then, or have
// been reported.
func (n *node) stop() {
	n.t.Helper()
	unsyncable := n.hasUnsyncable()
	n.signal(syscall.SIGTERM)
	if err := <-n.ended; err != nil && !unsyncable {
		n.t.Errorf("sync did not bring all into the bucket: %v", err)
	}
	n.process = nil
}

func (n *node) signal(s syscall.Signal) {
	n.t.Helper()
	n.check(n.process.Process.Signal(s))
}

// flush brings all into the bucket that can be there. It may fail on account of
// what cannot, but not because it had no time for the rest.
func (n *node) flush() {
	n.t.Helper()
	_, err := n.run("flush", "--timeout="+patience.String())
	if err != nil && !(n.hasUnsyncable() && strings.Contains(err.Error(), "not in the bucket: ")) {
		n.t.Fatal(err)
	}
}

// hasUnsyncable says whether paths are reported that cannot be in the bucket.
func (n *node) hasUnsyncable() bool {
	n.t.Helper()
	s, err := n.status()
	return err == nil && s.Unsyncable > 0
}

func (n *node) status() (s status.Status, err error) {
	n.t.Helper()
	out, err := n.run("status", "-o", "json")
	if out == "" {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

func (n *node) await(what string, ok func(status.Status) bool) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		s, err := n.status()
		if err == nil && ok(s) {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("never %s: %+v, %v", what, s, err)
		}
	}
}

// path is where the entry p is.
func (n *node) path(p string) string { return n.volume + "/" + p }

// write writes a file, with the folders on the way.
func (n *node) write(p, content string) {
	n.t.Helper()
	n.check(os.MkdirAll(filepath.Dir(n.path(p)), 0o755))
	n.check(os.WriteFile(n.path(p), []byte(content), 0o644))
}

// unsyncable asks what cannot be synced, and why.
func (n *node) unsyncable() map[string]string {
	n.t.Helper()
	s, err := n.status()
	n.check(err)
	found := map[string]string{}
	for _, p := range s.UnsyncablePaths {
		found[p.Path] = p.Reason
	}
	if int(s.Unsyncable) != len(found) {
		n.t.Errorf("%d paths cannot be synced, but the status names %d", s.Unsyncable, len(found))
	}
	return found
}

// wantUnsyncable checks that exactly these paths are reported, each for a
// reason that contains what is given.
func (n *node) wantUnsyncable(want map[string]string) {
	n.t.Helper()
	found := n.unsyncable()
	for path, reason := range found {
		if part, ok := want[path]; !ok || !strings.Contains(reason, part) {
			n.t.Errorf("%q is reported as %q, want %q", path, reason, part)
		}
	}
	for path := range want {
		if _, ok := found[path]; !ok {
			n.t.Errorf("%q is not reported, want %q", path, want[path])
		}
	}
}
