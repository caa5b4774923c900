package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/minio-sidecar/minio-sidecar/hack/internal/loopback"
)

// Names of what is measured on a process that stays.
const (
	idleMemory = "Idle, memory (RSS)"
	idleCPU    = "Idle, CPU"
	latency    = "Closed → readable"
)

// settle is how long a process gets to calm down before it counts as idle.
const settle = 5 * time.Second

// resident measures what a process costs that watches many files among which
// nothing happens, and then how soon a new file can be read from the bucket.
func (b *bench) resident(ctx context.Context) error {
	var watchers []watcher
	for _, c := range b.clients {
		if w, ok := c.(watcher); ok {
			watchers = append(watchers, w)
		}
	}
	source := filepath.Join(b.dir, "source")
	defer os.RemoveAll(source)
	if err := fill(source, b.files, 4<<10); err != nil {
		return err
	}

	for range b.runs {
		err := inRandomOrder(watchers, func(w watcher) error {
			bucket, err := b.newBucket(ctx)
			if err != nil {
				return err
			}
			if _, err := b.mc.Upload(ctx, source, bucket); err != nil {
				return err
			}
			if err := b.admin(ctx, "anonymous", "set", "download", "bench/"+bucket); err != nil {
				return err
			}
			dir := filepath.Join(b.dir, "volume")
			defer os.RemoveAll(dir)
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			p, err := w.Watch(ctx, dir, bucket)
			if err != nil {
				return err
			}
			defer p.Kill()
			syscall.Sync()
			if err := b.idle(ctx, w, p); err != nil {
				return err
			}
			if err := b.latency(ctx, w, p, dir, bucket); err != nil {
				return err
			}
			// mc does not end cleanly when it is told to; nothing depends on it.
			_ = p.Stop()
			return b.admin(ctx, "rb", "--force", "bench/"+bucket)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) idle(ctx context.Context, c client, p *loopback.Process) error {
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	_, before, err := usage(p.PID())
	if err != nil {
		return err
	}
	began := time.Now()
	if err := sleep(ctx, b.idleTime); err != nil {
		return err
	}
	memory, after, err := usage(p.PID())
	if err != nil {
		return err
	}
	cpu := 100 * (after - before).Seconds() / time.Since(began).Seconds()
	b.say("%-28s %-14s %8.1f MiB, %.2f %% CPU", "Idle", c.Name(), memory/(1<<20), cpu)
	b.results.add(idleMemory, "MiB", c.Name(), memory/(1<<20))
	b.results.add(idleCPU, "%", c.Name(), cpu)
	return nil
}

func (b *bench) latency(ctx context.Context, c client, p *loopback.Process, dir, bucket string) error {
	content := bytes.Repeat([]byte("minio"), 4<<10/5)
	for i := range b.latencies {
		// Irregular, so that no poll interval is met by chance.
		if err := sleep(ctx, time.Duration(50+rand.IntN(150))*time.Millisecond); err != nil {
			return err
		}
		name := fmt.Sprintf("new-%04d.bin", i)
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
		closed := time.Now()
		if err := b.awaitReadable(ctx, bucket+"/"+name, content); err != nil {
			return fmt.Errorf("%w\n%s", err, p.Log())
		}
		b.results.add(latency, "ms", c.Name(), float64(time.Since(closed).Microseconds())/1000)
	}
	all := b.results.of(latency, c.Name())
	b.say("%-28s %-14s %8.0f ms median, %.0f ms p95", latency, c.Name(), median(all), quantile(all, 0.95))
	return nil
}

// awaitReadable returns when anybody reads content at path of the store.
func (b *bench) awaitReadable(ctx context.Context, path string, content []byte) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.endpoint+"/"+path, nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		got, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if answer.StatusCode == http.StatusOK {
			if !bytes.Equal(got, content) {
				return fmt.Errorf("%s has other content than the file", path)
			}
			return nil
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("%s did not become readable: %w", path, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// usage is the resident memory of a process in bytes and the processor time
// that it has used so far; see proc(5).
func usage(pid int) (memory float64, cpu time.Duration, err error) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	statm, err := os.ReadFile(filepath.Join(proc, "statm"))
	if err != nil {
		return 0, 0, err
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(statm))[1], 64)
	if err != nil {
		return 0, 0, err
	}
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return 0, 0, err
	}
	// The name, in parentheses, may hold spaces; fields 14 and 15 of the line
	// are user and system time in ticks of 10 ms.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, 0, err
	}
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		return 0, 0, err
	}
	return pages * float64(os.Getpagesize()), time.Duration(user+system) * 10 * time.Millisecond, nil
}
