package webhook_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/webhook"
	"github.com/minio-sidecar/minio-sidecar/webhook/inject"
)

type modern struct{}

func (modern) Cluster() inject.Cluster { return inject.Cluster{NativeSidecars: true} }

func newHandler(t testing.TB) (*webhook.Handler, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	m, err := webhook.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	return &webhook.Handler{
		Defaults: map[string]string{contract.Endpoint: "http://minio:9000", contract.Image: "syncer:1"},
		Versions: modern{}, Metrics: m, Version: "v1",
	}, registry
}

func request(raw []byte) admission.Request {
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Namespace: "shop", Object: runtime.RawExtension{Raw: raw},
	}}
}

// apply gives the response's patch to the document, as the API server does.
func apply(t testing.TB, raw []byte, response admission.Response) []byte {
	t.Helper()
	if len(response.Patches) == 0 {
		return raw
	}
	text, err := json.Marshal(response.Patches)
	if err != nil {
		t.Fatal(err)
	}
	p, err := jsonpatch.DecodePatch(text)
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Apply(raw)
	if err != nil {
		t.Fatalf("apply %s\nto %s\n%v", text, raw, err)
	}
	return out
}

// goldenPods are the pods of package inject's golden cases, as JSON.
func goldenPods(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("inject/testdata/*/pod.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d golden pods, error %v", len(files), err)
	}
	pods := map[string][]byte{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := yaml.YAMLToJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		pods[filepath.Base(filepath.Dir(file))] = raw
	}
	return pods
}

func TestHandlerAnswers(t *testing.T) {
	h, registry := newHandler(t)
	for name, c := range map[string]struct {
		raw     string
		allowed bool
		patched bool
		message string
	}{
		"asked":     {`{"metadata":{"name":"p","annotations":{"minio-sidecar/bucket":"files"}},"spec":{"containers":[{"name":"app"}]}}`, true, true, ""},
		"not asked": {`{"metadata":{"name":"p"},"spec":{"containers":[{"name":"app"}]}}`, true, false, ""},
		"mistake":   {`{"metadata":{"name":"p","annotations":{"minio-sidecar/bukcet":"files"}}}`, false, false, `did you mean "minio-sidecar/bucket"?`},
		"refused": {`{"metadata":{"annotations":{"minio-sidecar/bucket":"files"}},"spec":{"os":{"name":"windows"},"containers":[{"name":"app"}]}}`,
			false, false, "Windows"},
		"garbage": {`{"spec":[]}`, false, false, "cannot unmarshal"},
		"nothing": {``, false, false, "unexpected end"},
	} {
		response := h.Handle(t.Context(), request([]byte(c.raw)))
		message := ""
		if response.Result != nil {
			message = response.Result.Message
		}
		if response.Allowed != c.allowed || len(response.Patches) > 0 != c.patched || !strings.Contains(message, c.message) {
			t.Errorf("%s: allowed %v, %d operations, message %q", name, response.Allowed, len(response.Patches), message)
		}
	}
	want := `
# HELP minio_sidecar_admission_total Pods that were decided on, by result and, for those denied, by what was wrong.
# TYPE minio_sidecar_admission_total counter
minio_sidecar_admission_total{reason="",result="injected"} 1
minio_sidecar_admission_total{reason="annotations",result="denied"} 1
minio_sidecar_admission_total{reason="decode",result="error"} 2
minio_sidecar_admission_total{reason="not-asked",result="skipped"} 1
minio_sidecar_admission_total{reason="pod",result="denied"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "minio_sidecar_admission_total"); err != nil {
		t.Error(err)
	}
}

// TestUnknownFieldsSurvive gives the handler pods of a newer Kubernetes, whose
// fields the types here do not know: anywhere, in every golden pod.
func TestUnknownFieldsSurvive(t *testing.T) {
	for name, raw := range goldenPods(t) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				surviveUnknown(t, raw, seed)
			}
		})
	}
}

// FuzzUnknownFields does it with other pods and other places.
func FuzzUnknownFields(f *testing.F) {
	for _, raw := range goldenPods(f) {
		f.Add(raw, uint64(1))
	}
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		var pod corev1.Pod
		if json.Unmarshal(raw, &pod) != nil {
			t.Skip("not a pod")
		}
		// The API server sends what its own types encode to.
		canonical, err := json.Marshal(pod)
		if err != nil {
			t.Skip("not a pod that can be encoded")
		}
		surviveUnknown(t, canonical, seed)
	})
}

func surviveUnknown(t *testing.T, raw []byte, seed uint64) {
	t.Helper()
	h, _ := newHandler(t)
	plain := h.Handle(t.Context(), request(raw))

	var document any
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	s := &sprinkler{random: rand.New(rand.NewPCG(seed, 0))}
	s.sprinkle(document, "")
	newer, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	response := h.Handle(t.Context(), request(newer))
	if response.Allowed != plain.Allowed {
		t.Fatalf("allowed %v without unknown fields and %v with them", plain.Allowed, response.Allowed)
	}
	if !response.Allowed {
		return
	}
	patched := apply(t, newer, response)

	// What the types know is the same as without the unknown fields …
	var got, want corev1.Pod
	if err := json.Unmarshal(patched, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(apply(t, raw, plain), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(encode(t, got), encode(t, want)) {
		t.Errorf("with unknown fields the pod becomes\n%s\nwithout\n%s", encode(t, got), encode(t, want))
	}
	// … and every unknown field is where it was.
	var after any
	if err := json.Unmarshal(patched, &after); err != nil {
		t.Fatal(err)
	}
	left := map[string]string{}
	collect(after, "", left)
	if !reflect.DeepEqual(left, s.put) {
		t.Errorf("unknown fields were\n%v\nand are\n%v", s.put, left)
	}
	// Once more: nothing is left to do.
	if again := h.Handle(t.Context(), request(patched)); !again.Allowed || len(again.Patches) > 0 {
		t.Errorf("a second time: allowed %v, operations %v", again.Allowed, again.Patches)
	}
}

// unknown begins the names of fields that no version of Kubernetes has.
const unknown = "zzUnknown"

// sprinkler adds unknown fields to objects of a document and remembers, for
// each value, to whom it was given.
type sprinkler struct {
	random *rand.Rand
	put    map[string]string
}

func (s *sprinkler) sprinkle(v any, path string) {
	if s.put == nil {
		s.put = map[string]string{}
	}
	switch v := v.(type) {
	case map[string]any:
		if isStringMap(path) {
			return
		}
		for key, child := range v {
			s.sprinkle(child, path+"/"+key)
		}
		if s.random.IntN(3) > 0 {
			value := fmt.Sprint(len(s.put))
			v[unknown] = value
			s.put[value] = path
		}
	case []any:
		for i, child := range v {
			s.sprinkle(child, path+"/"+identity(child, i))
		}
	}
}

func collect(v any, path string, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			if key == unknown {
				into[child.(string)] = path
			} else {
				collect(child, path+"/"+key, into)
			}
		}
	case []any:
		for i, child := range v {
			collect(child, path+"/"+identity(child, i), into)
		}
	}
}

// identity tells an element of a list from the others, wherever it stands.
func identity(element any, index int) string {
	if object, is := element.(map[string]any); is && object["name"] != nil {
		return fmt.Sprint(object["name"], object["mountPath"])
	}
	return fmt.Sprint(index)
}

// isStringMap reports whether the object at path maps strings to strings (or
// quantities), where a new key would not be a new field.
func isStringMap(path string) bool {
	for _, end := range []string{"/labels", "/annotations", "/nodeSelector", "/limits", "/requests", "/fieldsV1", "/overhead", "/matchLabels", "/volumeAttributes", "/options"} {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return false
}

// BenchmarkHandle is one typical pod, decoded request to answer. The figure to
// keep is a p99 of 5 ms.
func BenchmarkHandle(b *testing.B) {
	h, _ := newHandler(b)
	req := request(goldenPods(b)["deployment-nginx"])
	var took []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if r := h.Handle(b.Context(), req); !r.Allowed || len(r.Patches) == 0 {
			b.Fatalf("%+v", r)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
