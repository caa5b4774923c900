package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

const (
	ownNamespace = "minio-sidecar-system"
	account      = "system:serviceaccount:" + ownNamespace + ":minio-sidecar-webhook"
)

// rig is a real API server with what config/ installs, and the webhook's own
// binary, which runs with no more rights than config/ gives it.
type rig struct {
	env      *envtest.Environment
	client   client.Client
	warnings *warnings
	binary   string
	// kubeconfig of the webhook's service account
	kubeconfig string
	port       int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	assets := testenv.Tool(t, "envtest")
	r := &rig{
		env:      &envtest.Environment{BinaryAssetsDirectory: assets, ControlPlaneStartTimeout: time.Minute},
		warnings: &warnings{},
		port:     freePort(t),
	}
	config, err := r.env.Start()
	if err != nil {
		t.Fatalf("start the API server: %v", err)
	}
	t.Cleanup(func() {
		if err := r.env.Stop(); err != nil {
			t.Errorf("stop the API server: %v", err)
		}
	})
	config = rest.CopyConfig(config)
	config.WarningHandler = r.warnings
	if r.client, err = client.New(config, client.Options{}); err != nil {
		t.Fatal(err)
	}
	user, err := r.env.AddUser(envtest.User{Name: account}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r.kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(r.kubeconfig, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r.binary = filepath.Join(dir, "webhook")
	build := exec.Command("go", "build", "-o", r.binary, "./cmd/webhook")
	build.Dir = testenv.ModuleRoot(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build cmd/webhook: %v\n%s", err, out)
	}
	return r
}

// install applies config/default. Nothing in it is changed but one thing: no
// Service leads anywhere without a cluster's network, so the registration calls
// the webhook at its address.
func (r *rig) install(t *testing.T) {
	t.Helper()
	for _, object := range r.manifests(t) {
		if object.GetKind() == "MutatingWebhookConfiguration" {
			hooks := object.Object["webhooks"].([]any)
			for _, hook := range hooks {
				service := hook.(map[string]any)["clientConfig"].(map[string]any)["service"].(map[string]any)
				hook.(map[string]any)["clientConfig"] = map[string]any{
					"url": fmt.Sprintf("https://localhost:%d%s", r.port, service["path"]),
				}
			}
		}
		if err := r.client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object),
			client.FieldOwner("test"), client.ForceOwnership); err != nil {
			t.Fatalf("apply %s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}

// manifests are what `kubectl apply -k config/default` would apply.
func (r *rig) manifests(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	kubectl := filepath.Join(r.env.BinaryAssetsDirectory, "kubectl")
	out, err := exec.Command(kubectl, "kustomize", filepath.Join(testenv.ModuleRoot(t), "config", "default")).Output()
	if err != nil {
		t.Fatalf("kubectl kustomize config/default: %v", err)
	}
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return objects
}

// instance is one running webhook.
type instance struct {
	cmd             *exec.Cmd
	log             string // file
	done            chan struct{}
	port            int
	metrics, health string // URLs
}

// start runs the webhook with the flags that config/ would give it, those for
// ports and folders, and more.
func (r *rig) start(t *testing.T, port int, more ...string) *instance {
	t.Helper()
	dir := t.TempDir()
	metrics, health := freePort(t), freePort(t)
	i := &instance{
		log: filepath.Join(dir, "log"), done: make(chan struct{}), port: port,
		metrics: fmt.Sprintf("http://127.0.0.1:%d/metrics", metrics),
		health:  fmt.Sprintf("http://127.0.0.1:%d/readyz", health),
	}
	log, err := os.Create(i.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	i.cmd = exec.Command(r.binary, append([]string{
		"--kubeconfig=" + r.kubeconfig,
		"--namespace=" + ownNamespace,
		"--cert-dir=" + filepath.Join(dir, "certificate"),
		"--cert-names=localhost",
		"--shutdown-delay=0s", // no Service sends anything meanwhile
		fmt.Sprintf("--webhook-port=%d", port),
		fmt.Sprintf("--metrics-address=127.0.0.1:%d", metrics),
		fmt.Sprintf("--health-address=127.0.0.1:%d", health),
		"--default-image=syncer:test",
	}, more...)...)
	i.cmd.Env = append(os.Environ(), "MINIO_SIDECAR_DEFAULT_ENDPOINT=http://minio.storage:9000")
	i.cmd.Stdout, i.cmd.Stderr = log, log
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(i.done)
		_ = i.cmd.Wait()
	}()
	t.Cleanup(func() {
		i.stop(t)
		if t.Failed() {
			text, _ := os.ReadFile(i.log)
			t.Logf("log of the webhook on port %d:\n%s", port, text)
		}
	})
	return i
}

// stop ends the webhook as the kubelet would, and expects it to end well.
func (i *instance) stop(t *testing.T) {
	t.Helper()
	if i.cmd.ProcessState != nil {
		return
	}
	if err := i.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	select {
	case <-i.done:
	case <-time.After(time.Minute):
		_ = i.cmd.Process.Kill()
		<-i.done
		t.Error("the webhook did not end within a minute of SIGTERM")
	}
	if code := i.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the webhook ended with code %d", code)
	}
}

func (i *instance) running() bool {
	select {
	case <-i.done:
		return false
	default:
		return true
	}
}

// resident is the process's memory as the kernel counts it.
func resident(t *testing.T, i *instance) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", i.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if size, found := strings.CutPrefix(line, "VmRSS:"); found {
			return strings.TrimSpace(size)
		}
	}
	return "unknown"
}

// waitReady waits until the kubelet would send it requests.
func (i *instance) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, "the webhook to be ready", func() error {
		if !i.running() {
			t.Fatal("the webhook has ended")
		}
		_, err := get(i.health)
		return err
	})
}

// admissions is the count of answers of one result, from the metrics.
func (i *instance) admissions(t *testing.T, result string) string {
	t.Helper()
	text, err := get(i.metrics)
	if err != nil {
		t.Fatal(err)
	}
	var counts []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "minio_sidecar_admission_total{") && strings.Contains(line, `result="`+result+`"`) {
			counts = append(counts, strings.TrimSpace(line))
		}
	}
	return strings.Join(counts, "\n")
}

func get(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}

// eventually waits for something that happens by itself, somewhere else.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited too long for %s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// warnings collects what kubectl would print.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.text = nil }()
	return slices.Clone(w.text)
}

// namespace makes a namespace with these labels.
func (r *rig) namespace(t *testing.T, name string, labels map[string]string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if err := r.client.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return name
}

// create makes the pod and returns what the API server made of it.
func (r *rig) create(t *testing.T, pod *corev1.Pod, opts ...client.CreateOption) (*corev1.Pod, error) {
	t.Helper()
	pod = pod.DeepCopy()
	err := r.client.Create(t.Context(), pod, opts...)
	return pod, err
}
