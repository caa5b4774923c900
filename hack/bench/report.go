package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// results are all samples, by what was measured and on whom.
type results struct {
	tasks []task
}

type task struct {
	name, unit string
	samples    map[string][]float64
}

func (r *results) add(name, unit, client string, sample float64) {
	i := slices.IndexFunc(r.tasks, func(t task) bool { return t.name == name })
	if i < 0 {
		i = len(r.tasks)
		r.tasks = append(r.tasks, task{name: name, unit: unit, samples: map[string][]float64{}})
	}
	r.tasks[i].samples[client] = append(r.tasks[i].samples[client], sample)
}

func (r *results) of(name, client string) []float64 {
	for _, t := range r.tasks {
		if t.name == name {
			return t.samples[client]
		}
	}
	return nil
}

// report writes the page. The first client is ours.
func (b *bench) report(m machine) (string, error) {
	var page strings.Builder
	w := func(format string, args ...any) { fmt.Fprintf(&page, format+"\n", args...) }

	w("# Benchmarks\n")
	w("Written by `make bench`; do not edit. All programs are measured in one run against one MinIO server on a loopback address, each round in a random order, with fresh buckets and folders; what arrived is counted after each upload and compared by content after each restore. Figures are medians of %d runs; smaller is better everywhere. The last column is ours as a multiple of the best peer.\n", b.runs)
	w("- %s", m.text)
	w("- load average (1 min) %s before, %s after", m.loadBefore, m.loadAfter)
	w("- %s\n", m.versions)

	header, line := "| |", "|---|"
	for _, c := range b.clients {
		header += " " + c.Name() + " |"
		line += "---:|"
	}
	w("%s ratio |", header)
	w("%s---:|", line)
	for _, t := range b.results.tasks {
		b.row(w, t.name, t.unit, t.samples, median)
		if t.name == latency {
			b.row(w, t.name+", 95 % of files", t.unit, t.samples, func(all []float64) float64 { return quantile(all, 0.95) })
		}
	}
	sizes := map[string][]float64{}
	for _, c := range b.clients {
		info, err := os.Stat(c.Binary())
		if err != nil {
			return "", err
		}
		sizes[c.Name()] = []float64{float64(info.Size()) / (1 << 20)}
	}
	b.row(w, "Size of the binary", "MiB", sizes, median)

	w("\nThe syncer's image is its binary and a list of certificate authorities, nothing else%s.", imageSize(b.root))
	w("\n## What is compared\n")
	w("- **Upload**: `syncer restore` on an empty bucket, then `syncer sync`, until `syncer flush` says that all is acknowledged, against `mc mirror`, `rclone copy --transfers 64 --checkers 64 --fast-list --s3-no-check-bucket --s3-no-head` and `s5cmd cp`. Only minio-sidecar and rclone keep modification times; only minio-sidecar keeps modes and owners, and remembers on disk what it did.")
	w("- **Restore**: `syncer restore` against the same commands the other way round. minio-sidecar and rclone check what arrives against the store's checksum or MD5.")
	w("- **Idle**: a process that watches %d files of 4 KiB in which nothing happens, looked at for %v each run: `syncer sync` against `mc mirror --watch`. rclone and s5cmd cannot watch.", b.files, b.idleTime)
	w("- **Closed → readable**: from the end of close(2) on a new file of 4 KiB, among those %d, until an unauthenticated GET returns it; polled every millisecond; %d files a run.", b.files, b.latencies)

	if text := b.limitReport(); text != "" {
		w("%s", text)
	}

	w("\nHow time and memory grow with the number of files is on [a page of its own](benchmarks-scale.md).")
	w("\n## All samples\n")
	for _, t := range b.results.tasks {
		if t.name == latency {
			continue
		}
		for _, c := range b.clients {
			if all := t.samples[c.Name()]; len(all) > 0 {
				texts := make([]string, len(all))
				for i, v := range all {
					texts[i] = number(v)
				}
				w("- %s, %s (%s): %s", t.name, c.Name(), t.unit, strings.Join(texts, ", "))
			}
		}
	}
	return page.String(), nil
}

// imageSize says how large the image is that `make images` built, if it did.
func imageSize(root string) string {
	info, err := os.Stat(filepath.Join(root, "dist/images/syncer-"+runtime.GOARCH+".tar"))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(": %s MiB, uncompressed", number(float64(info.Size())/(1<<20)))
}

// row writes one line of the table.
func (b *bench) row(w func(string, ...any), name, unit string, samples map[string][]float64, sum func([]float64) float64) {
	line, best := "| "+name+" |", 0.0
	for i, c := range b.clients {
		all := samples[c.Name()]
		if len(all) == 0 {
			line += " – |"
			continue
		}
		value := sum(all)
		line += " " + number(value) + " " + unit + " |"
		if i > 0 && (best == 0 || value < best) {
			best = value
		}
	}
	ratio := "–"
	if ours := samples[b.clients[0].Name()]; len(ours) > 0 && best > 0 {
		ratio = fmt.Sprintf("%.2f ×", sum(ours)/best)
	}
	w("%s %s |", line, ratio)
}

// number writes three digits, or more before the point.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// machine is what a reader must know to place the figures.
type machine struct {
	text, versions, loadBefore, loadAfter string
}

func describe(ctx context.Context, root string) machine {
	m := machine{loadBefore: load()}
	processor := field("/proc/cpuinfo", "model name")
	memory := field("/proc/meminfo", "MemTotal")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	commit, err := exec.CommandContext(ctx, "git", "-C", root, "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	m.text = fmt.Sprintf("%s, %s, Linux %s, %d × %s, %s of memory, %s, commit %s",
		time.Now().UTC().Format(time.DateOnly), runtime.GOARCH, strings.TrimSpace(string(kernel)),
		runtime.NumCPU(), processor, memory, runtime.Version(), strings.TrimSpace(string(commit)))

	var versions []string
	pins, err := os.ReadFile(filepath.Join(root, "hack/tools/versions"))
	if err == nil {
		for line := range strings.Lines(string(pins)) {
			if f := strings.Fields(line); len(f) > 1 && slices.Contains([]string{"minio", "mc", "rclone", "s5cmd"}, f[0]) {
				versions = append(versions, f[0]+" "+f[1])
			}
		}
	}
	m.versions = strings.Join(versions, ", ")
	return m
}

// load is the load average of the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(text))[0]
}

// field is a "name : value" of a file in /proc.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
