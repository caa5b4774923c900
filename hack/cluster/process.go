//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is a program that keeps running after this one ends.
type process struct {
	name  string            // names its log and its record
	argv  []string          // argv[0] may be looked up in PATH
	files map[string]string // its configuration: content by path
}

// fingerprint changes when anything that the process was started with does.
func (p process) fingerprint() string {
	h := sha256.New()
	for _, arg := range p.argv {
		fmt.Fprintf(h, "%q\n", arg)
	}
	for _, path := range slices.Sorted(maps.Keys(p.files)) {
		fmt.Fprintf(h, "%q %q\n", path, p.files[path])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// A record is what is remembered of a started process. A pid alone would not do:
// it is reused, and down must never end what it did not start.
type record struct {
	PID         int    `json:"pid"`
	Identity    string `json:"identity"`
	Fingerprint string `json:"fingerprint"`
}

// identity tells one process from every other that ever had its pid. It is empty
// when there is none, or only its zombie.
func identity(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	started, ok := startTime(string(stat))
	if !ok {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "/" + started
}

// startTime reads the start time, in clock ticks since boot, out of
// /proc/PID/stat (see proc(5)); ok is false for a zombie.
func startTime(stat string) (ticks string, ok bool) {
	// The second field is the command in parentheses, which may hold anything.
	_, rest, found := cutLast(stat, ")")
	fields := strings.Fields(rest)
	const state, start = 0, 19 // the third and the twenty-second field of all
	if !found || len(fields) <= start || fields[state] == "Z" || fields[state] == "X" {
		return "", false
	}
	return fields[start], true
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// A supervisor starts processes and finds them again in a later run.
type supervisor struct {
	records string // a file per started process
	logs    string // a file per process, appended to at each start
}

func (s supervisor) logOf(name string) string { return filepath.Join(s.logs, name+".log") }

// running returns the record of the process of this name, if it is alive.
func (s supervisor) running(name string) (record, bool) {
	data, err := os.ReadFile(filepath.Join(s.records, name))
	if err != nil {
		return record{}, false
	}
	var r record
	if json.Unmarshal(data, &r) != nil || r.Identity == "" {
		return record{}, false
	}
	return r, identity(r.PID) == r.Identity
}

// upToDate says whether p runs, and as it would be started now.
func (s supervisor) upToDate(p process) bool {
	r, alive := s.running(p.name)
	return alive && r.Fingerprint == p.fingerprint()
}

// ensure starts p unless it runs already; it restarts one that was started with
// other arguments or another configuration.
func (s supervisor) ensure(p process) error {
	if s.upToDate(p) {
		return nil
	}
	if err := s.stop(p.name); err != nil {
		return err
	}
	if err := s.start(p); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	return nil
}

func (s supervisor) start(p process) error {
	for path, content := range p.files {
		if err := writeFile(path, content, 0o644); err != nil {
			return err
		}
	}
	for _, dir := range []string{s.records, s.logs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(s.logOf(p.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()

	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Dir = "/"
	// Nothing of the caller's environment: a proxy set there, say, would send the
	// cluster's own traffic elsewhere.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // outlives this program and its terminal
	if err := cmd.Start(); err != nil {
		return err
	}
	r := record{PID: cmd.Process.Pid, Identity: identity(cmd.Process.Pid), Fingerprint: p.fingerprint()}
	go func() { _ = cmd.Wait() }() // so that one that ends at once leaves no zombie

	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(s.records, p.name), string(data), 0o644)
}

// stop ends the process of this name, if it runs, and forgets it.
func (s supervisor) stop(name string) error {
	if r, alive := s.running(name); alive {
		if err := end(r); err != nil {
			return fmt.Errorf("stop %s (pid %d): %w", name, r.PID, err)
		}
	}
	err := os.Remove(filepath.Join(s.records, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// end asks the process to stop, and insists after a while.
func end(r record) error {
	handle, err := os.FindProcess(r.PID) // a pidfd: it cannot come to mean another process
	if err != nil {
		return err
	}
	defer func() { _ = handle.Release() }()
	for _, attempt := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		if identity(r.PID) != r.Identity {
			return nil
		}
		if err := handle.Signal(attempt.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		for deadline := time.Now().Add(attempt.wait); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if identity(r.PID) != r.Identity {
				return nil
			}
		}
	}
	return errors.New("still there after SIGKILL")
}

// names lists the processes that were started and not yet stopped.
func (s supervisor) names() ([]string, error) {
	entries, err := os.ReadDir(s.records)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// stopAll stops several at once.
func (s supervisor) stopAll(names []string) error {
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = s.stop(name) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
