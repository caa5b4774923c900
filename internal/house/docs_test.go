package house

import (
	"bytes"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/metrics"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/webhook"
)

// root is the top of the checkout, as seen from this package.
const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// table is the first table of a Markdown text whose first heading is head: its
// rows, as cells without the quotes of code.
func table(t *testing.T, name, head string) [][]string {
	t.Helper()
	var rows [][]string
	inside := false
	for line := range strings.Lines(read(t, name)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			if inside {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i, c := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(c), "`")
		}
		switch {
		case !inside:
			inside = cells[0] == head
		case !strings.HasPrefix(cells[0], "---"):
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table whose first column is called %q", name, head)
	}
	return rows
}

func column(rows [][]string, n int) []string {
	var cells []string
	for _, r := range rows {
		cells = append(cells, r[n])
	}
	return cells
}

// sameSet reports what one list has and the other has not.
func sameSet(t *testing.T, name string, got, want []string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s does not mention %s", name, w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("%s mentions %s, which does not exist", name, g)
		}
	}
}

func TestAnnotationsAreDocumented(t *testing.T) {
	defaults := map[string]string{
		contract.Inject:         "true",
		contract.Path:           contract.DefaultPath,
		contract.Region:         contract.DefaultRegion,
		contract.Secret:         contract.DefaultSecret,
		contract.Mode:           contract.DefaultMode,
		contract.Delete:         strconv.FormatBool(contract.DefaultDelete),
		contract.CreateBucket:   "false",
		contract.RestoreTimeout: "0",
		contract.FlushTimeout:   duration(contract.DefaultFlushTimeout.Seconds()),
		contract.ScanInterval:   duration(contract.DefaultScanInterval.Seconds()),
		contract.CPURequest:     contract.DefaultCPURequest,
		contract.MemoryRequest:  contract.DefaultMemoryRequest,
		contract.MemoryLimit:    contract.DefaultMemoryLimit,
		contract.MetricsPort:    strconv.Itoa(contract.DefaultMetricsPort),
		contract.LogLevel:       contract.DefaultLogLevel,
		contract.NativeSidecar:  contract.DefaultNativeSidecar,
	}
	for _, name := range []string{"README.md", "docs/annotations.md"} {
		t.Run(name, func(t *testing.T) {
			rows := table(t, name, "key")
			if got, want := column(rows, 0), contract.Annotations(); !slices.Equal(got, want) {
				sameSet(t, name, got, want)
				t.Errorf("%s lists %v; contract.Annotations() is %v", name, got, want)
			}
			for _, row := range rows {
				if want, ok := defaults[row[0]]; ok && row[1] != want {
					t.Errorf("%s: default of %s is %q there and %q in the contract", name, row[0], row[1], want)
				}
			}
		})
	}
}

// duration writes seconds as people do: 60s, 5m.
func duration(seconds float64) string {
	if minutes := seconds / 60; minutes > 1 {
		return strconv.FormatFloat(minutes, 'f', -1, 64) + "m"
	}
	return strconv.FormatFloat(seconds, 'f', -1, 64) + "s"
}

func TestFlagsAreDocumented(t *testing.T) {
	want := []string{}
	for _, name := range contract.Flags() {
		want = append(want, "--"+name)
	}
	if got := column(table(t, "docs/command-line.md", "flag"), 0); !slices.Equal(got, want) {
		sameSet(t, "docs/command-line.md", got, want)
		t.Errorf("docs/command-line.md lists %v; contract.Flags() is %v", got, want)
	}
}

func TestExitCodesAreDocumented(t *testing.T) {
	want := []string{}
	for _, code := range []int{
		contract.ExitOK, contract.ExitFailure, contract.ExitUsage, contract.ExitAccessDenied, contract.ExitNoBucket,
		contract.ExitUnreachable, contract.ExitDamaged, contract.ExitVolumeFull, contract.ExitOtherWriter,
	} {
		want = append(want, strconv.Itoa(code))
	}
	sameSet(t, "docs/operations.md", column(table(t, "docs/operations.md", "code"), 0), want)
}

func TestConditionsAreDocumented(t *testing.T) {
	want := []string{}
	for _, c := range []status.Condition{
		status.OK, status.Unreachable, status.AccessDenied, status.ClocksDiffer, status.NoBucket, status.StoreFull,
		status.VolumeFull, status.Damaged, status.Halted, status.Failing,
	} {
		want = append(want, string(c))
	}
	sameSet(t, "docs/operations.md", column(table(t, "docs/operations.md", "condition"), 0), want)
}

// TestMetricsAreDocumented asks the programs' own registries what they serve.
func TestMetricsAreDocumented(t *testing.T) {
	m := metrics.New()
	m.Observe(func() status.Status { return status.Status{Mode: contract.ModeShared} })
	page := httptest.NewRecorder()
	m.Handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var syncers []string
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (minio_sidecar_\w+) `).FindAllStringSubmatch(page.Body.String(), -1) {
		syncers = append(syncers, match[1])
	}
	sameSet(t, "docs/operations.md", column(table(t, "docs/operations.md", "metric"), 0), syncers)

	var webhooks registered
	if _, err := webhook.NewMetrics(&webhooks); err != nil {
		t.Fatal(err)
	}
	sameSet(t, "docs/operations.md", column(table(t, "docs/operations.md", "metric of the webhook"), 0), webhooks)

	served := slices.Concat(syncers, webhooks)
	name := regexp.MustCompile(`minio_sidecar_[a-z_]*[a-z]`)
	eachDocument(t, func(document, text string) {
		for _, mentioned := range name.FindAllString(text, -1) {
			if !slices.Contains(served, mentioned) {
				t.Errorf("%s mentions %s, which no program serves", document, mentioned)
			}
		}
	})
}

// registered collects the names of what is registered with it, also of
// metrics that have no series yet.
type registered []string

func (r *registered) Register(c prometheus.Collector) error {
	descriptions := make(chan *prometheus.Desc, 100)
	c.Describe(descriptions)
	close(descriptions)
	for d := range descriptions {
		if match := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String()); match != nil {
			*r = append(*r, match[1])
		}
	}
	return nil
}

func (r *registered) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		_ = r.Register(c)
	}
}

func (r *registered) Unregister(prometheus.Collector) bool { return false }

func eachDocument(t *testing.T, visit func(name, text string)) {
	t.Helper()
	files := os.DirFS(root)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		if path.Ext(name) == ".md" {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				return err
			}
			visit(name, string(text))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLinks follows every link inside the documentation, to the heading.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	eachDocument(t, func(document, text string) {
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := document
			if target != "" {
				file = path.Join(path.Dir(document), target)
			}
			content, err := os.ReadFile(filepath.Join(root, file))
			if info, statErr := os.Stat(filepath.Join(root, file)); statErr == nil && info.IsDir() {
				err = nil
			}
			if err != nil {
				t.Errorf("%s links to %s: %v", document, match[1], err)
			} else if anchor != "" && !slices.Contains(anchors(content), anchor) {
				t.Errorf("%s links to %s: there is no such heading", document, match[1])
			}
		}
	})
}

// anchors are the names that headings get, as GitHub makes them.
func anchors(markdown []byte) []string {
	var names []string
	for line := range bytes.Lines(markdown) {
		heading, ok := bytes.CutPrefix(line, []byte("#"))
		if !ok {
			continue
		}
		name := strings.ToLower(strings.TrimSpace(strings.TrimLeft(string(heading), "#")))
		name = regexp.MustCompile(`[^\p{L}\p{N}\s_-]`).ReplaceAllString(name, "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// TestMakeTargets: what a document tells people to make can be made.
func TestMakeTargets(t *testing.T) {
	var targets []string
	for _, match := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets = append(targets, match[1])
	}
	mentioned := regexp.MustCompile("(?m)(?:`|^)make ([a-z][a-z0-9-]*)")
	eachDocument(t, func(document, text string) {
		for _, match := range mentioned.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(targets, match[1]) {
				t.Errorf("%s says make %s; the Makefile has no such target", document, match[1])
			}
		}
	})
}
