// Command bench measures the syncer side by side with programs that move files
// to and from the same store: mc, rclone and s5cmd, each as its own users would
// run it, in one run on one machine, and writes a table.
//
//	make bench                  # all of it, about 20 minutes
//	BENCH_RUNS=9 make bench     # more runs
//	go run ./hack/bench -tasks latency -runs 1
//
// With "scale" as its first argument it measures the syncer alone, on volumes
// of up to a million files and on large sparse files:
//
//	make bench-scale            # all of it, about 45 minutes and 25 GB of disk
//	go run ./hack/bench scale -counts 1000,10000
//	make scale                  # no page: fails where memory or CPU time is out of proportion
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/minio-sidecar/minio-sidecar/hack/internal/loopback"
)

// settings are what a person can change.
type settings struct {
	runs      int
	files     int   // in the tests of many small files
	large     int64 // bytes of the one large file
	latencies int   // new files a run
	idleTime  time.Duration
	tasks     *regexp.Regexp
	out       string
	endpoint  string
}

func parse() (s settings, err error) {
	runs := 5
	if text := os.Getenv("BENCH_RUNS"); text != "" {
		if runs, err = strconv.Atoi(text); err != nil {
			return s, fmt.Errorf("BENCH_RUNS: %w", err)
		}
	}
	flag.IntVar(&s.runs, "runs", runs, "how often each thing is measured; also BENCH_RUNS")
	flag.IntVar(&s.files, "files", 10_000, "files in the tests of many small files")
	flag.Int64Var(&s.large, "large", 1<<30, "bytes of the one large file")
	flag.IntVar(&s.latencies, "latencies", 20, "new files a run in the test of latency")
	flag.DurationVar(&s.idleTime, "idle", 20*time.Second, "how long an idle process is looked at, each run")
	flag.StringVar(&s.out, "out", "", "write the table to this file as well")
	tasks := flag.String("tasks", ".", "measure only what matches: small, large, resident, limited")
	flag.Parse()
	if s.runs < 1 {
		return s, errors.New("at least one run is needed")
	}
	s.tasks, err = regexp.Compile(*tasks)
	return s, err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	measure := run
	if len(os.Args) > 1 && os.Args[1] == "scale" {
		measure = func(ctx context.Context) error { return runScale(ctx, os.Args[2:]) }
	}
	if err := measure(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	s, err := parse()
	if err != nil {
		return err
	}
	root, err := loopback.Root()
	if err != nil {
		return err
	}
	tools := map[string]string{}
	for _, name := range []string{"minio", "mc", "rclone", "s5cmd"} {
		if tools[name], err = loopback.Tool(root, name); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "minio-sidecar-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	machine := describe(ctx, root)
	store, err := loopback.StartMinIO(dir, tools["minio"])
	if err != nil {
		return err
	}
	defer store.Kill()
	s.endpoint = store.Endpoint

	ours, err := newSyncer(filepath.Join(root, "bin/syncer"), dir, store)
	if err != nil {
		return err
	}
	b := &bench{settings: s, root: root, dir: dir, mc: newMC(tools["mc"], dir, store)}
	b.clients = []client{ours, b.mc, newRclone(tools["rclone"], dir, store), newS5cmd(tools["s5cmd"], dir, store)}

	for _, task := range []struct {
		name string
		run  func() error
	}{
		{"small", func() error { return b.transfers(ctx, fmt.Sprintf("%d × 4 KiB", s.files), s.files, 4<<10) }},
		{"large", func() error { return b.transfers(ctx, fmt.Sprintf("1 × %d MiB", s.large>>20), 1, s.large) }},
		{"resident", func() error { return b.resident(ctx) }},
		{"limited", func() error { return b.limited(ctx, ours) }},
	} {
		if !s.tasks.MatchString(task.name) {
			continue
		}
		if err := task.run(); err != nil {
			return fmt.Errorf("%s: %w", task.name, err)
		}
	}
	machine.loadAfter = load()

	report, err := b.report(machine)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s", report)
	if s.out != "" {
		return os.WriteFile(s.out, []byte(report), 0o644)
	}
	return nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
