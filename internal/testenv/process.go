package testenv

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// process is one child that this test started. It is only ever signalled
// through its own handle.
type process struct {
	pid  int
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended
	err  error         // why, once done is closed
}

// startProcess starts the child, its output appended to logFile. If this test
// binary dies, even by SIGKILL, the child dies with it.
func startProcess(c command, logFile string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	cmd := exec.Command(c.path, c.args...)
	cmd.Env = c.env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel ties Pdeathsig to the thread that forked, so that thread
		// must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		p.err = cmd.Wait()
		if p.err == nil {
			p.err = fmt.Errorf("exit status 0")
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// onDisk wraps a command so that it has a file system of its own at dir. A user
// namespace makes that possible without being root; setpriv makes good what it
// takes away, that the child dies with its parent.
func onDisk(c command, dir, size string) command {
	const script = `mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec setpriv --pdeathsig KILL "$@"`
	args := []string{"--mount", "--map-root-user", "sh", "-c", script, "sh", size, dir, c.path}
	return command{path: "unshare", args: append(args, c.args...), env: c.env}
}

// terminate asks the child to end, and insists when it does not.
func (p *process) terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !p.ended() {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
		return p.kill()
	}
}

func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !p.ended() {
		return err
	}
	<-p.done
	return nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	case <-time.After(stopTimeout): // the signal failed: it is about to be reaped
		return false
	}
}

// freePort finds a loopback port below the range from which Linux takes the
// ports of outgoing connections, so that a stopped server's port is not given
// away before it starts again.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 10000 + rand.IntN(22000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		return port
	}
	t.Fatal("no free loopback port found")
	return 0
}

// tail is the end of a file, for messages.
func tail(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > n {
		if _, err := f.Seek(-n, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
