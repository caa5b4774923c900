package inject_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/webhook/inject"
	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Files of a case in testdata. What is wanted is exactly one of want.yaml and
// error.txt, and warnings.txt where there are warnings.
const (
	podFile      = "pod.yaml"     // the pod as the API server hands it over
	inputsFile   = "inputs.yaml"  // optional: what differs from defaultInputs
	wantFile     = "want.yaml"    // the whole pod that comes out
	errorFile    = "error.txt"    // the sentence that refuses it
	warningsFile = "warnings.txt" // one a line
)

// inputs is the form of inputs.yaml.
type inputs struct {
	Namespace      string            `json:"namespace"`
	NativeSidecars bool              `json:"nativeSidecars"`
	Defaults       map[string]string `json:"defaults"`
}

func defaultInputs() inputs {
	return inputs{
		Namespace:      "shop",
		NativeSidecars: true,
		Defaults: map[string]string{
			contract.Endpoint: "http://minio.storage:9000",
			contract.Image:    "minio-sidecar/syncer:v1.0.0",
		},
	}
}

func TestGolden(t *testing.T) {
	cases, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 25 {
		t.Errorf("testdata has %d cases; some have gone missing", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name(), func(t *testing.T) { golden(t, filepath.Join("testdata", c.Name())) })
	}
}

func golden(t *testing.T, dir string) {
	in := defaultInputs()
	if text, err := os.ReadFile(filepath.Join(dir, inputsFile)); err == nil {
		unmarshal(t, text, &in)
	}
	var pod corev1.Pod
	unmarshal(t, []byte(read(t, dir, podFile)), &pod)
	untouched := pod.DeepCopy()

	out, warnings, err := run(&pod, in)
	if !reflect.DeepEqual(&pod, untouched) {
		t.Error("Inject changed the pod that it was given")
	}
	got := map[string]string{warningsFile: lines(warnings)}
	if err != nil {
		got[errorFile] = err.Error() + "\n"
	} else {
		got[wantFile] = marshal(t, out)
	}
	compare(t, dir, got)
	if err != nil {
		return
	}
	for _, warning := range warnings {
		if len(warning) > 256 { // the API server cuts them there
			t.Errorf("a warning of %d bytes: %s", len(warning), warning)
		}
	}

	// Once more, from what the API server would hand over: the JSON form.
	var injected corev1.Pod
	unmarshal(t, []byte(marshal(t, out)), &injected)
	again, _, err := run(&injected, in)
	if err != nil {
		t.Fatalf("injecting the injected pod: %v", err)
	}
	if a, b := marshal(t, again), marshal(t, out); a != b {
		t.Errorf("injecting the injected pod changes it:\n%s", firstDifference(a, b))
	}
}

// run does what the webhook does between decoding and patching.
func run(pod *corev1.Pod, in inputs) (*corev1.Pod, []string, error) {
	workload := settings.WorkloadOf(pod)
	resolved, err := settings.Resolve(settings.Input{
		Annotations: pod.Annotations,
		Defaults:    in.Defaults,
		Namespace:   in.Namespace,
		Workload:    workload,
	})
	if err != nil {
		return nil, nil, err
	}
	out, warnings, err := inject.Inject(pod, inject.Inputs{
		Settings: resolved,
		Workload: workload,
		Cluster:  inject.Cluster{NativeSidecars: in.NativeSidecars, Reason: `node "old" runs v1.28.3`},
		Version:  "v1.0.0",
	})
	var refusal *inject.Refusal
	if err != nil && !errors.As(err, &refusal) {
		return nil, nil, errors.New("not a Refusal: " + err.Error())
	}
	return out, warnings, err
}

// compare holds the case's files against what came out; a file that should not
// be there fails as much as one that differs.
func compare(t *testing.T, dir string, got map[string]string) {
	t.Helper()
	for _, name := range []string{wantFile, errorFile, warningsFile} {
		path := filepath.Join(dir, name)
		if *update {
			if got[name] == "" {
				if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(path, []byte(got[name]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if string(want) != got[name] {
			t.Errorf("%s differs (run with -update to accept):\n%s", path, firstDifference(got[name], string(want)))
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains([]string{podFile, inputsFile, wantFile, errorFile, warningsFile}, f.Name()) {
			t.Errorf("%s is no part of a case", filepath.Join(dir, f.Name()))
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var gl, wl string
		if i < len(g) {
			gl = g[i]
		}
		if i < len(w) {
			wl = w[i]
		}
		if gl != wl {
			return "first at\n got  " + gl + "\n want " + wl
		}
	}
	return ""
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func unmarshal(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatal(err)
	}
}

func marshal(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	text, err := yaml.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func lines(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return strings.Join(all, "\n") + "\n"
}
