package metrics

import (
	"net/http"

	"github.com/prometheus/common/expfmt"
)

// Handler serves the metrics to Prometheus, in its text format. (promhttp
// would add half a megabyte, most of it compressors, to every syncer image.)
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		// One metric that cannot be had must not hide the others.
		families, err := m.registry.Gather()
		if err != nil && len(families) == 0 {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		format := expfmt.NewFormat(expfmt.TypeTextPlain)
		w.Header().Set("Content-Type", string(format))
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(w, family); err != nil {
				return // the scraper has gone
			}
		}
	})
}
