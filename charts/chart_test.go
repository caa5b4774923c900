// Package charts tests the Helm chart with the real helm: what it renders is
// kept as golden files, decodes strictly as what it claims to be, and agrees
// with the registration in config/, which the webhook's own tests use.
package charts

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	psaapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	chart     = "minio-sidecar"
	namespace = "minio-sidecar-system" // the one that config/ uses
)

// helm runs helm and returns what it printed and said.
func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	path, err := exec.Command("../hack/tools/get", "helm").Output()
	if err != nil {
		t.Fatalf("finding helm: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), strings.TrimSpace(string(path)), args...)
	var out, diagnostics bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	err = cmd.Run()
	return out.String(), diagnostics.String(), err
}

func render(t *testing.T, args ...string) string {
	t.Helper()
	out, diagnostics, err := helm(t, append([]string{"template", "minio-sidecar", chart, "--namespace", namespace}, args...)...)
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, diagnostics)
	}
	return out
}

// Each testdata/NAME.values.yaml renders to testdata/NAME.golden.yaml.
func TestRendersAsBefore(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.values.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	golden, err := filepath.Glob("testdata/*.golden.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range golden {
		if values := strings.TrimSuffix(path, ".golden.yaml") + ".values.yaml"; !slices.Contains(cases, values) {
			t.Errorf("%s is stale: there is no %s", path, values)
		}
	}
	for _, values := range cases {
		name := strings.TrimSuffix(filepath.Base(values), ".values.yaml")
		t.Run(name, func(t *testing.T) {
			got := render(t, "--values", values)
			decode(t, got) // a golden file may not keep a mistake
			path := "testdata/" + name + ".golden.yaml"
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v (run with -update to write it)", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s differs; run with -update if that is meant (-want +got):\n%s", path, diff)
			}
		})
	}
}

// Resources whose types are not ours to know; all others must decode strictly.
var foreign = []string{"cert-manager.io/v1", "monitoring.coreos.com/v1"}

func decode(t *testing.T, documents string) []runtime.Object {
	t.Helper()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for document := range strings.SplitSeq(documents, "\n---\n") {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &meta); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if meta.Kind == "" || meta.Kind == "Kustomization" || slices.Contains(foreign, meta.APIVersion) {
			continue
		}
		object, _, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Errorf("%v in:\n%s", err, document)
			continue
		}
		objects = append(objects, object)
	}
	return objects
}

// find returns the objects of type T.
func find[T runtime.Object](t *testing.T, objects []runtime.Object) []T {
	t.Helper()
	var found []T
	for _, object := range objects {
		if typed, ok := object.(T); ok {
			found = append(found, typed)
		}
	}
	if len(found) == 0 {
		t.Fatalf("no %T among %d objects", *new(T), len(objects))
	}
	return found
}

// The chart and config/ are two ways to install one thing.
func TestAgreesWithConfig(t *testing.T) {
	var documents []string
	for _, path := range glob(t, "../config/*/*.yaml") {
		if strings.Contains(path, "/samples/") { // what users write, not what is installed
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, string(data))
	}
	theirs := decode(t, strings.Join(documents, "\n---\n"))
	ours := decode(t, render(t))

	unimportant := cmp.Options{
		cmpopts.IgnoreFields(metav1.ObjectMeta{}, "Labels", "Annotations"),
		cmpopts.EquateEmpty(),
		cmpopts.SortSlices(func(a, b string) bool { return a < b }), // excluded namespaces
	}
	if diff := cmp.Diff(
		find[*admissionv1.MutatingWebhookConfiguration](t, theirs),
		find[*admissionv1.MutatingWebhookConfiguration](t, ours), unimportant); diff != "" {
		t.Errorf("webhook registration (-config +chart):\n%s", diff)
	}
	// What the policy is called does not matter; what it says does.
	if diff := cmp.Diff(
		find[*admissionv1.ValidatingAdmissionPolicy](t, theirs)[0].Spec,
		find[*admissionv1.ValidatingAdmissionPolicy](t, ours)[0].Spec, unimportant); diff != "" {
		t.Errorf("admission policy (-config +chart):\n%s", diff)
	}
	if diff := cmp.Diff(
		find[*admissionv1.ValidatingAdmissionPolicyBinding](t, theirs)[0].Spec.MatchResources,
		find[*admissionv1.ValidatingAdmissionPolicyBinding](t, ours)[0].Spec.MatchResources, unimportant); diff != "" {
		t.Errorf("binding of the admission policy (-config +chart):\n%s", diff)
	}
	if diff := cmp.Diff(find[*rbacv1.ClusterRole](t, theirs), find[*rbacv1.ClusterRole](t, ours), unimportant); diff != "" {
		t.Errorf("rights in the cluster (-config +chart):\n%s", diff)
	}
	if diff := cmp.Diff(find[*rbacv1.Role](t, theirs), find[*rbacv1.Role](t, ours), unimportant); diff != "" {
		t.Errorf("rights in the namespace (-config +chart):\n%s", diff)
	}
	if diff := cmp.Diff(find[*corev1.Secret](t, theirs), find[*corev1.Secret](t, ours), unimportant); diff != "" {
		t.Errorf("certificate's Secret (-config +chart):\n%s", diff)
	}

	// Pods: labels and most arguments may differ, images and how they run may not.
	pod := func(objects []runtime.Object) corev1.PodSpec {
		spec := find[*appsv1.Deployment](t, objects)[0].Spec.Template.Spec
		spec.Affinity, spec.TopologySpreadConstraints = nil, nil
		for i := range spec.Containers {
			spec.Containers[i].Args = slices.DeleteFunc(spec.Containers[i].Args, func(arg string) bool {
				return !strings.HasPrefix(arg, "--default-image=")
			})
			spec.Containers[i].ImagePullPolicy = ""
		}
		return spec
	}
	if diff := cmp.Diff(pod(theirs), pod(ours), unimportant); diff != "" {
		t.Errorf("the webhook's pods (-config +chart):\n%s", diff)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no files (%v)", pattern, err)
	}
	return paths
}

// The release must be installable into a namespace with the strictest profile.
func TestPassesRestrictedProfile(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psaapi.LevelVersion{Level: psaapi.LevelRestricted, Version: psaapi.LatestVersion()}
	check := func(name string, meta metav1.ObjectMeta, spec corev1.PodSpec) {
		if result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &meta, &spec)); !result.Allowed {
			t.Errorf("%s: %s", name, result.ForbiddenDetail())
		}
	}
	objects := decode(t, render(t))
	for _, deployment := range find[*appsv1.Deployment](t, objects) {
		check(deployment.Name, deployment.Spec.Template.ObjectMeta, deployment.Spec.Template.Spec)
	}
	for _, pod := range find[*corev1.Pod](t, objects) {
		check(pod.Name, pod.ObjectMeta, pod.Spec)
	}
}

// Whatever selects the webhook's pods must select nothing else of the release.
func TestTestPodIsNoBackend(t *testing.T) {
	objects := decode(t, render(t))
	selector := find[*corev1.Service](t, objects)[0].Spec.Selector
	for _, pod := range find[*corev1.Pod](t, objects) {
		matches := true
		for key, value := range selector {
			matches = matches && pod.Labels[key] == value
		}
		if matches {
			t.Errorf("the Service would send admissions to %s", pod.Name)
		}
	}
}

// Each annotation that can have a default can get it by value, and no other.
func TestDefaultsAreTheAnnotations(t *testing.T) {
	var schema struct {
		Properties struct {
			Defaults struct {
				Properties map[string]any
			}
		}
	}
	data, err := os.ReadFile(chart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	// Of one pod, not of a cluster; or with a value of its own (syncer.image).
	without := []string{
		contract.Bucket, contract.Inject, contract.Volume, contract.Containers, contract.RestoreAt,
		contract.RunAsUser, contract.RunAsGroup, contract.Status,
		contract.Image, contract.ImagePullPolicy,
	}
	want := slices.DeleteFunc(contract.Annotations(), func(key string) bool { return slices.Contains(without, key) })
	got := []string{}
	for key := range schema.Properties.Defaults.Properties {
		got = append(got, key)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults in values.schema.json (-annotations +schema):\n%s", diff)
	}
}

// The schema refuses nothing that an annotation may say.
func TestTakesZeroes(t *testing.T) {
	for _, key := range []string{contract.FlushTimeout, contract.RestoreTimeout, contract.BandwidthLimit, contract.MetricsPort} {
		render(t, "--set-string", "defaults."+key+"=0")
	}
}

func TestRefusesWrongValues(t *testing.T) {
	for set, want := range map[string]string{
		"defaults.endpont=http://a:9000":          "additional properties 'endpont' not allowed",
		"defaults.endpoint=minio:9000":            "at '/defaults/endpoint': 'minio:9000' does not match pattern",
		"defaults.endpoint=http://minio:9000/b":   "at '/defaults/endpoint'",
		"defaults.bucket=everything":              "additional properties 'bucket' not allowed",
		"defaults.mode=exclusive":                 "at '/defaults/mode': value must be one of 'shared', 'read-only'",
		"defaults.delete=perhaps":                 "at '/defaults/delete': value must be one of true, false",
		"defaults.flush-timeout=60":               "at '/defaults/flush-timeout'",
		"defaults.size-limit=10 GB":               "at '/defaults/size-limit'",
		"defaults.native-sidecar=never":           "at '/defaults/native-sidecar'",
		"failurePolicy=fail":                      "at '/failurePolicy': value must be one of 'Fail', 'Ignore'",
		"timeoutSeconds=60":                       "at '/timeoutSeconds': maximum: got 60, want 5",
		"replicas=two":                            "at '/replicas': got string, want integer",
		"replicas=0":                              "at '/replicas': minimum: got 0, want 1",
		"image.tag=v1 ":                           "at '/image/tag'",
		"image.repository=Example/Webhook":        "at '/image/repository'",
		"syncer.image.pullPolicy=Sometimes":       "at '/syncer/image/pullPolicy': value must be one of",
		"excludeNamespaces[0]=Kube_System":        "at '/excludeNamespaces/0'",
		"logLevel=trace":                          "at '/logLevel': value must be one of 'debug', 'info', 'warn', 'error'",
		"certManager.enable=true":                 "additional properties 'enable' not allowed",
		"networkPolicy.apiServerPorts[0]=https":   "at '/networkPolicy/apiServerPorts/0': got string, want integer",
		"store.enabled=true":                      "additional properties 'store' not allowed",
		"podDisruptionBudget.minAvailable=a half": "at '/podDisruptionBudget/minAvailable'",
	} {
		t.Run(set, func(t *testing.T) {
			_, said, err := helm(t, "template", chart, "--set", set)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(said, want) {
				t.Errorf("said %q, want %q in it", said, want)
			}
		})
	}
}

// renderNotes renders NOTES.txt, which helm itself does only when it installs:
// in a copy of the chart that has one template more.
func renderNotes(t *testing.T, set string) string {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	const template = `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}, "data":
		{"notes": {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}}}`
	if err := os.WriteFile(copied+"/templates/notes.yaml", []byte(template), 0o600); err != nil {
		t.Fatal(err)
	}
	out, said, err := helm(t, "template", copied, "--set", set, "--show-only", "templates/notes.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return find[*corev1.ConfigMap](t, decode(t, out))[0].Data["notes"]
}

func TestNotesWarn(t *testing.T) {
	for name, test := range map[string]struct {
		set  string
		want []string
		not  []string
	}{
		"no endpoint": {
			set:  "failurePolicy=Fail",
			want: []string{"minio-sidecar/endpoint:", "create secret generic minio-sidecar "},
			not:  []string{"WARNING"},
		},
		"endpoint": {
			set:  "defaults.endpoint=http://minio:9000,defaults.secret=store-key",
			want: []string{"create secret generic store-key "},
			not:  []string{"minio-sidecar/endpoint:", "WARNING"},
		},
		"nobody watches": {
			set:  "failurePolicy=Ignore,admissionPolicy.enabled=false",
			want: []string{"WARNING", "starts WITHOUT its files"},
		},
		"the policy watches": {
			set: "failurePolicy=Ignore",
			not: []string{"WARNING"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			notes := renderNotes(t, test.set)
			for _, want := range test.want {
				if !strings.Contains(notes, want) {
					t.Errorf("notes lack %q:\n%s", want, notes)
				}
			}
			for _, not := range test.not {
				if strings.Contains(notes, not) {
					t.Errorf("notes have %q:\n%s", not, notes)
				}
			}
		})
	}
}

func TestLint(t *testing.T) {
	if out, said, err := helm(t, "lint", "--strict", chart); err != nil {
		t.Errorf("%v\n%s%s", err, out, said)
	}
}
