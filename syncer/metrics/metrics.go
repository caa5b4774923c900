// Package metrics counts what a syncer does, for Prometheus.
//
// Events are counted as they happen, by one small method each. Everything
// that is a state rather than an event (what is pending, whether deletes are
// halted) is read from a [status.Status] at the moment of the scrape, so that
// metrics and `syncer status` can never disagree.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// namespace begins the name of every metric of the project.
const namespace = "minio_sidecar"

// Result is how an upload or a download ended.
type Result string

const (
	OK Result = "ok"
	// Changed: the object, or the file, was not what the plan said any more,
	// so nothing was written and the path is planned again. Not a failure.
	Changed Result = "changed"
	Failed  Result = "failed"
)

// Side is where something was deleted.
type Side string

const (
	Local  Side = "local"  // in the volume, because the object had gone
	Remote Side = "remote" // in the bucket, because the file had gone
)

// Metrics is a registry of its own with everything that a syncer counts. Its
// methods are safe for concurrent use. A nil *Metrics counts nothing.
type Metrics struct {
	registry *prometheus.Registry

	restoreSeconds prometheus.Gauge
	restoredFiles  prometheus.Counter
	restoredBytes  prometheus.Counter

	uploads     *prometheus.CounterVec
	uploadBytes prometheus.Counter
	downloads   *prometheus.CounterVec
	deletes     *prometheus.CounterVec
	conflicts   prometheus.Counter
	tornReads   prometheus.Counter
	scanSeconds prometheus.Histogram
	overflows   prometheus.Counter
}

// New returns metrics that start at zero, beside those of the Go runtime and
// of the process.
func New() *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, []string{label})
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		restoreSeconds: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "restore_duration_seconds",
			Help: "How long the last complete restore took.",
		}),
		restoredFiles: counter("restored_files_total", "Entries brought from the bucket by restores."),
		restoredBytes: counter("restored_bytes_total", "Bytes brought from the bucket by restores."),
		uploads:       counters("uploads_total", "Uploads by how they ended: ok, changed (planned again), failed (tried again).", "result"),
		uploadBytes:   counter("upload_bytes_total", "Bytes of content in the uploads that ended ok."),
		downloads:     counters("downloads_total", "Downloads by how they ended: ok, changed (planned again), failed (tried again).", "result"),
		deletes:       counters("deletes_total", "Deletions by side: local (in the volume) or remote (in the bucket).", "side"),
		conflicts:     counter("conflicts_total", "Paths changed on both sides, of which one was kept as a conflict copy."),
		tornReads:     counter("torn_reads_total", "Uploads given up because the file changed while it was read."),
		overflows:     counter("event_overflows_total", "Times that the queue of file events overflowed, which costs a full scan."),
		scanSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "scan_duration_seconds",
			Help:    "How long full scans of the volume take.",
			Buckets: []float64{.001, .01, .1, .5, 1, 5, 10, 30, 60, 300},
		}),
	}
	m.registry.MustRegister(
		m.restoreSeconds, m.restoredFiles, m.restoredBytes,
		m.uploads, m.uploadBytes, m.downloads, m.deletes,
		m.conflicts, m.tornReads, m.scanSeconds, m.overflows,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	// A series that appears only with its first event hides that event from
	// rate() and increase(): all of them exist from the start.
	for _, r := range []Result{OK, Changed, Failed} {
		m.uploads.WithLabelValues(string(r))
		m.downloads.WithLabelValues(string(r))
	}
	for _, s := range []Side{Local, Remote} {
		m.deletes.WithLabelValues(string(s))
	}
	return m
}

// Restored counts a complete restore.
func (m *Metrics) Restored(files, bytes int64, took time.Duration) {
	if m == nil {
		return
	}
	m.restoreSeconds.Set(took.Seconds())
	m.restoredFiles.Add(float64(files))
	m.restoredBytes.Add(float64(bytes))
}

// Uploads counts one upload that has ended.
func (m *Metrics) Uploads(r Result) {
	if m != nil {
		m.uploads.WithLabelValues(string(r)).Inc()
	}
}

// UploadBytes counts the content of an upload that ended [OK].
func (m *Metrics) UploadBytes(n int64) {
	if m != nil {
		m.uploadBytes.Add(float64(n))
	}
}

// Downloads counts one download that has ended.
func (m *Metrics) Downloads(r Result) {
	if m != nil {
		m.downloads.WithLabelValues(string(r)).Inc()
	}
}

// Deletes counts one deletion.
func (m *Metrics) Deletes(s Side) {
	if m != nil {
		m.deletes.WithLabelValues(string(s)).Inc()
	}
}

// Conflicts counts one path that was changed on both sides.
func (m *Metrics) Conflicts() {
	if m != nil {
		m.conflicts.Inc()
	}
}

// TornReads counts one file that changed while it was read.
func (m *Metrics) TornReads() {
	if m != nil {
		m.tornReads.Inc()
	}
}

// ScanDuration counts one full scan of the volume.
func (m *Metrics) ScanDuration(d time.Duration) {
	if m != nil {
		m.scanSeconds.Observe(d.Seconds())
	}
}

// Overflows counts one overflow of the queue of file events.
func (m *Metrics) Overflows() {
	if m != nil {
		m.overflows.Inc()
	}
}

// Observe reads s at each scrape for the metrics that are states. It may be
// called once.
func (m *Metrics) Observe(s func() status.Status) {
	if m != nil {
		m.registry.MustRegister(newStates(s))
	}
}
