package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/minio-sidecar/minio-sidecar/hack/internal/loopback"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/control"
)

// memory of a process in bytes; see proc_pid_status(5).
type memory struct {
	peak      int64 // VmHWM
	now       int64 // VmRSS
	anonymous int64 // RssAnon: what the kernel cannot drop and read again from a file
}

func readMemory(pid int) (memory, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	defer f.Close()
	var m memory
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		into := map[string]*int64{"VmHWM": &m.peak, "VmRSS": &m.now, "RssAnon": &m.anonymous}[name]
		if into == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return m, fmt.Errorf("read %s of process %d: %w", name, pid, err)
		}
		*into = kib << 10
	}
	if m.peak == 0 {
		return m, fmt.Errorf("process %d has ended", pid)
	}
	return m, nil
}

func (c cost) String() string {
	return fmt.Sprintf("in %v, %v of CPU, peak %s", c.took.Round(time.Millisecond), c.cpu, mib(c.peak))
}

// costSince is what a process has cost that was started, or else looked at,
// at began.
func costSince(began time.Time, p *loopback.Process) (cost, error) {
	took := time.Since(began)
	m, err := readMemory(p.PID())
	if err != nil {
		return cost{}, err
	}
	_, cpu, err := usage(p.PID())
	return cost{took: took, cpu: cpu, peak: m.peak}, err
}

// toEnd runs a command of the syncer to its end. What it costs is looked at
// often, as the peak cannot be asked for afterwards without that of the parent
// in it.
func (s *scale) toEnd(ctx context.Context, env []string, args ...string) (c cost, err error) {
	began := time.Now()
	p, err := loopback.Start(s.dir, "syncer-"+args[0], s.syncer.binary, env, args...)
	if err != nil {
		return cost{}, err
	}
	defer p.Kill()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-p.Done():
			c.took = time.Since(began)
			return c, p.Stop()
		case <-ctx.Done():
			return cost{}, fmt.Errorf("%w\n%s", ctx.Err(), p.Log())
		case <-ticker.C:
			if now, err := costSince(began, p); err == nil {
				c = now
			}
		}
	}
}

// idleCPUOf is the processor time, in per cent, of a process that has nothing
// to do.
func idleCPUOf(ctx context.Context, p *loopback.Process) (float64, error) {
	if err := sleep(ctx, settle); err != nil {
		return 0, err
	}
	_, before, err := usage(p.PID())
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := sleep(ctx, 2*settle); err != nil {
		return 0, err
	}
	_, after, err := usage(p.PID())
	return 100 * (after - before).Seconds() / time.Since(began).Seconds(), err
}

func (s *scale) startSync(ctx context.Context, env []string) (*loopback.Process, error) {
	p, err := loopback.Start(s.dir, "syncer-sync", s.syncer.binary, env, "sync")
	if err != nil {
		return nil, err
	}
	client := control.NewClient(stateDir(env))
	for {
		_, err := client.Status(ctx)
		if err == nil {
			return p, nil
		}
		select {
		case <-p.Done():
			return nil, fmt.Errorf("sync ended: %w\n%s", err, p.Log())
		case <-ctx.Done():
			p.Kill()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *scale) flush(ctx context.Context, env []string, p *loopback.Process) error {
	if err := control.NewClient(stateDir(env)).Flush(ctx, false); err != nil {
		return fmt.Errorf("%w\n%s", err, p.Log())
	}
	return nil
}

// scanTime has everything scanned while nothing else is to be done, and asks
// the metrics how long that took.
func (s *scale) scanTime(ctx context.Context, env []string, p *loopback.Process) (time.Duration, error) {
	before, scans, err := scanMetric(ctx, env)
	if err != nil {
		return 0, err
	}
	if err := s.flush(ctx, env, p); err != nil {
		return 0, err
	}
	after, more, err := scanMetric(ctx, env)
	if err != nil {
		return 0, err
	}
	if more <= scans {
		return 0, errors.New("nothing was scanned")
	}
	return time.Duration((after - before) / (more - scans) * float64(time.Second)), nil
}

// scanMetric is the sum of the times of all scans so far, and their number.
func scanMetric(ctx context.Context, env []string) (seconds, count float64, err error) {
	url := "http://" + setting(env, contract.FlagMetricsAddress) + "/metrics"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, 0, err
	}
	const name = "minio_sidecar_scan_duration_seconds"
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 {
			switch f[0] {
			case name + "_sum":
				seconds, err = strconv.ParseFloat(f[1], 64)
			case name + "_count":
				count, err = strconv.ParseFloat(f[1], 64)
			}
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return seconds, count, nil
}

// setting is the value of a flag in an environment of the syncer.
func setting(env []string, flag string) string {
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, contract.EnvName(flag)+"="); ok {
			return value
		}
	}
	return ""
}

func stateDir(env []string) string { return setting(env, contract.FlagStateDir) }
