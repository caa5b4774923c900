package chaos

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// child is a process that dies with this one.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	code int           // then: its exit code, -1 if a signal ended it
}

func startChild(out io.Writer, binary string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(binary, args...), done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "TMPDIR=" + os.TempDir()}
	started := make(chan error, 1)
	go func() {
		// The signal is tied to the thread that forked: it must live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = c.cmd.Wait()
		c.code = c.cmd.ProcessState.ExitCode()
		close(c.done)
	}()
	return c, <-started
}

// kill ends it as a power cut would.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.done
}

func (c *child) wait() int {
	<-c.done
	return c.code
}
