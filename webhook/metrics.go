package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of the label "result".
const (
	resultInjected  = "injected"
	resultUnchanged = "unchanged" // injected before
	resultSkipped   = "skipped"   // has no annotation of ours, or inject: "false"
	resultDenied    = "denied"    // a person has to change something; reason says where
	resultError     = "error"     // our own fault
)

// Metrics of the webhook.
type Metrics struct {
	admissions *prometheus.CounterVec
	durations  prometheus.Histogram
	expiry     prometheus.Gauge
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		admissions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minio_sidecar_admission_total",
			Help: "Pods that were decided on, by result and, for those denied, by what was wrong.",
		}, []string{"result", "reason"}),
		durations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "minio_sidecar_admission_duration_seconds",
			Help:    "Time from a decoded request to its answer.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		expiry: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "minio_sidecar_certificate_expiry_timestamp_seconds",
			Help: "When the certificate that is served expires, in Unix seconds; 0 while there is none.",
		}),
	}
	for _, c := range []prometheus.Collector{m.admissions, m.durations, m.expiry} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) admitted(result, reason string, took time.Duration) {
	m.admissions.WithLabelValues(result, reason).Inc()
	m.durations.Observe(took.Seconds())
}

func (m *Metrics) certificateExpires(at time.Time) { m.expiry.Set(float64(at.Unix())) }
