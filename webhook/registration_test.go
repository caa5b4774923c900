package webhook_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// TestChartAndConfigAgree holds what decides about pods in both ways to
// install: the tests here run on config/, most people on the chart.
func TestChartAndConfigAgree(t *testing.T) {
	root := testenv.ModuleRoot(t)
	files, err := filepath.Glob(filepath.Join(root, "config", "*", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in config/, error %v", err)
	}
	kustomize := map[string]map[string]any{}
	for _, file := range files {
		readKinds(t, file, kustomize)
	}
	chart := map[string]map[string]any{}
	// What the chart renders by default; its own tests keep this file true.
	readKinds(t, filepath.Join(root, "charts", "testdata", "default.golden.yaml"), chart)

	for kind, fields := range map[string][]string{
		"MutatingWebhookConfiguration":     {"webhooks"},
		"ValidatingAdmissionPolicy":        {"spec"},
		"ValidatingAdmissionPolicyBinding": {"spec", "matchResources"},
		"ClusterRole":                      {"rules"},
		"Role":                             {"rules"},
		"Service":                          {"spec", "ports"},
	} {
		a, found, err := unstructured.NestedFieldNoCopy(chart[kind], fields...)
		if err != nil || !found {
			t.Errorf("chart: %s has no %v, error %v", kind, fields, err)
		}
		b, _, err := unstructured.NestedFieldNoCopy(kustomize[kind], fields...)
		if err != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%v of %s differs:\nchart  %v\nconfig %v\nerror %v", fields, kind, a, b, err)
		}
	}
}

// readKinds puts the documents of a file into a map by their kind.
func readKinds(t *testing.T, file string, into map[string]map[string]any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var object map[string]any
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if kind, is := object["kind"].(string); is {
			into[kind] = object
		}
	}
}

// TestSamples has every workload in config/samples injected, and without a
// warning: samples are what people copy.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testenv.ModuleRoot(t), "config", "samples", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	injected := 0
	for _, file := range files {
		kinds := map[string]map[string]any{}
		readKinds(t, file, kinds)
		for kind, object := range kinds {
			template, found, err := unstructured.NestedMap(object, "spec", "template")
			if err != nil {
				t.Fatal(err)
			}
			if !found {
				continue
			}
			name, _, _ := unstructured.NestedString(object, "metadata", "name")
			pod := unstructured.Unstructured{Object: template}
			controller := true
			pod.SetOwnerReferences([]metav1.OwnerReference{{Kind: kind, Name: name, Controller: &controller}})
			h, _ := newHandler(t)
			response := h.Handle(t.Context(), request(encode(t, template)))
			if !response.Allowed || len(response.Patches) == 0 || len(response.Warnings) > 0 {
				t.Errorf("%s: allowed %v, %d operations, warnings %q, %+v", file, response.Allowed, len(response.Patches), response.Warnings, response.Result)
			}
			injected++
		}
	}
	if injected < 3 {
		t.Errorf("only %d samples", injected)
	}
}
