package metrics

import (
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

var update = flag.Bool("update", false, "rewrite testdata/scrape.txt")

// scrape is what Prometheus reads, without the runtime's and the process's own.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	own := regexp.MustCompile(`(?m)^(# (HELP|TYPE) )?minio_sidecar_.*\n`)
	for _, other := range []string{"go_goroutines ", "process_resident_memory_bytes "} {
		if !strings.Contains(string(body), "\n"+other) {
			t.Errorf("no %s", other)
		}
	}
	return strings.Join(own.FindAllString(string(body), -1), "")
}

// TestScrape holds names, labels and texts: dashboards and alerts rely on them.
func TestScrape(t *testing.T) {
	m := New()
	m.Observe(func() status.Status {
		return status.Status{
			Condition: status.Halted, Mode: contract.ModeShared, Pending: 2, OldestPendingSeconds: 1.5,
			Unsyncable: 5, UnsyncableByReason: map[string]int64{"a socket": 3, "bad \xff": 1},
			HaltedDeletes: 7, OtherWriters: []string{"x", "y"},
		}
	})
	m.Restored(10, 1000, 1500*time.Millisecond)
	m.Uploads(OK)
	m.Uploads(OK)
	m.Uploads(Failed)
	m.UploadBytes(4096)
	m.Downloads(Changed)
	m.Deletes(Remote)
	m.Conflicts()
	m.TornReads()
	m.ScanDuration(20 * time.Millisecond)
	m.Overflows()

	const golden = "testdata/scrape.txt"
	got := scrape(t, m)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("scrape differs from %s (-want +got; -update rewrites it):\n%s", golden, diff)
	}
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestStates(t *testing.T) {
	var s status.Status
	m := New()
	m.Observe(func() status.Status { return s })
	for name, c := range map[string]struct {
		status status.Status
		want   []string
	}{
		"nothing": {status.Status{}, []string{
			"pending_paths 0", "oldest_pending_seconds 0", "halted 0", "writers 1", `unsyncable_paths{reason="unspecified"} 0`,
		}},
		"a reader writes nothing": {status.Status{Mode: contract.ModeReadOnly}, []string{"writers 0"}},
		"a reader sees writers":   {status.Status{Mode: contract.ModeReadOnly, OtherWriters: []string{"x"}}, []string{"writers 1"}},
		"one condition at a time": {status.Status{Condition: status.StoreFull}, []string{
			`condition{condition="store-full"} 1`, `condition{condition="ok"} 0`, `condition{condition="store-unreachable"} 0`,
		}},
		"reasons that are not told": {
			status.Status{Unsyncable: 3, UnsyncableByReason: map[string]int64{"fifo": 1}},
			[]string{`unsyncable_paths{reason="fifo"} 1`, `unsyncable_paths{reason="unspecified"} 2`},
		},
		"a reason of that very name": {
			status.Status{Unsyncable: 3, UnsyncableByReason: map[string]int64{"unspecified": 3}},
			[]string{`unsyncable_paths{reason="unspecified"} 3`},
		},
		"reasons ahead of the count": {
			status.Status{Unsyncable: 1, UnsyncableByReason: map[string]int64{"fifo": 2}},
			[]string{`unsyncable_paths{reason="fifo"} 2`, `unsyncable_paths{reason="unspecified"} 0`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s = c.status
			got := scrape(t, m)
			for _, line := range c.want {
				if !strings.Contains(got, "\nminio_sidecar_"+line+"\n") {
					t.Errorf("no %s in\n%s", line, got)
				}
			}
		})
	}
}

func TestNilCountsNothing(t *testing.T) {
	var m *Metrics
	m.Observe(nil)
	m.Restored(1, 2, 3)
	m.Uploads(OK)
	m.UploadBytes(1)
	m.Downloads(OK)
	m.Deletes(Local)
	m.Conflicts()
	m.TornReads()
	m.ScanDuration(1)
	m.Overflows()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("got %d", w.Code)
	}
}

func TestTwoSyncersInOneProcess(t *testing.T) {
	a, b := New(), New()
	a.TornReads()
	if got := scrape(t, b); !strings.Contains(got, "minio_sidecar_torn_reads_total 0\n") {
		t.Errorf("one counts for the other:\n%s", got)
	}
}
