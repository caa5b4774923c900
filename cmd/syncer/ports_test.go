package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/control"
)

// TestPorts: a sync listens on the metrics port and on no other; told to have
// none it listens nowhere. It runs in a network of its own, where nobody else
// listens, and which has no store: it answers all the same.
func TestPorts(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  string
		want []int
	}{
		"by default":                  {want: []int{contract.DefaultMetricsPort}},
		"none, by flag":               {args: []string{"--metrics-address=0"}},
		"none, by the environment":    {env: contract.EnvName(contract.FlagMetricsAddress) + "=0"},
		"another, by the environment": {env: contract.EnvName(contract.FlagMetricsAddress) + "=:9999", want: []int{9999}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			do := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			volume, state := filepath.Join(dir, "volume"), filepath.Join(dir, "state")
			do(os.Mkdir(volume, 0o755))
			cmd := exec.Command("syncer", append([]string{"sync", "--bucket=bucket", "--endpoint=http://127.0.0.1:9",
				"--path=" + volume, "--state-dir=" + state, "--flush-timeout=1s"}, c.args...)...)
			cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", c.env)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
			if uid := os.Getuid(); uid != 0 {
				cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
				cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
			}
			do(cmd.Start())
			t.Cleanup(func() {
				do(cmd.Process.Kill())
				_ = cmd.Wait()
			})
			// All that it listens on it does before it asks the store.
			client := control.NewClient(state)
			for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
				s, err := client.Status(t.Context())
				if err == nil && s.Message != "" {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("it does not come to asking the store: %+v, %v", s, err)
				}
			}
			if got := listening(t, cmd.Process.Pid); !slices.Equal(got, c.want) {
				t.Errorf("it listens on %v, want %v", got, c.want)
			}
		})
	}
}

// listening are the TCP ports on which somebody listens in the network that the
// process is in.
func listening(t *testing.T, pid int) (ports []int) {
	t.Helper()
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			const local, state, listens = 1, 3, "0A"
			fields := strings.Fields(line)
			if len(fields) <= state || fields[state] != listens {
				continue
			}
			_, hex, _ := strings.Cut(fields[local], ":")
			port, err := strconv.ParseUint(hex, 16, 16)
			if err != nil {
				t.Fatalf("%s: %q: %v", table, line, err)
			}
			ports = append(ports, int(port))
		}
	}
	return ports
}
