package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// unspecified is the reason of unsyncable paths that the status counts but
// gives no reason for.
const unspecified = "unspecified"

// states turns a status into gauges, all from one snapshot.
type states struct {
	read func() status.Status

	condition, pending, oldest, unsyncable, halted, writers *prometheus.Desc
}

func newStates(read func() status.Status) *states {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &states{
		read:       read,
		condition:  desc("condition", "1 for the condition that the syncer is in, 0 for each of the others.", "condition"),
		pending:    desc("pending_paths", "Paths that are not yet in the bucket as the volume has them."),
		oldest:     desc("oldest_pending_seconds", "How long the oldest pending change has waited: what the loss of the node would cost now."),
		unsyncable: desc("unsyncable_paths", "Paths that cannot be objects, or objects that cannot be files, by reason.", "reason"),
		halted:     desc("halted", "1 while the mass-delete guard holds deletions back for a person to confirm."),
		writers:    desc("writers", "Sync sidecars that may upload under this prefix, this one included."),
	}
}

func (s *states) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.condition, s.pending, s.oldest, s.unsyncable, s.halted, s.writers} {
		ch <- d
	}
}

func (s *states) Collect(ch chan<- prometheus.Metric) {
	st := s.read()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	// All of them, always: an alert on one that is not there would never fire.
	for _, c := range status.Conditions() {
		gauge(s.condition, truth(st.Condition == c), string(c))
	}
	gauge(s.pending, float64(st.Pending))
	gauge(s.oldest, st.OldestPendingSeconds)

	rest := st.Unsyncable
	for reason, n := range st.UnsyncableByReason {
		rest -= n
		if reason != unspecified {
			gauge(s.unsyncable, float64(n), strings.ToValidUTF8(reason, "?"))
		} else {
			rest += n
		}
	}
	// Always there, also at zero, so that an alert on sum() has a series.
	gauge(s.unsyncable, float64(max(rest, 0)), unspecified)

	gauge(s.halted, truth(st.HaltedDeletes > 0))

	writers := len(st.OtherWriters)
	if st.Mode != contract.ModeReadOnly {
		writers++
	}
	gauge(s.writers, float64(writers))
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
