package webhook_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// TestCluster walks one installation through its life. The steps share it, and
// those that stop or change something come last.
func TestCluster(t *testing.T) {
	r := newRig(t)
	plain := samplePod("plain")
	before := r.untouched(t, r.namespace(t, "before", nil), plain)

	r.install(t)
	hook := r.start(t, r.port)
	hook.waitReady(t)
	shop := r.namespace(t, "shop", nil)
	eventually(t, "the API server to know of the registration", r.injects(t, shop))

	t.Run("an annotated pod is injected", func(t *testing.T) {
		r.warnings.take()
		pod, err := r.create(t, annotated(inNamespace(samplePod("annotated"), shop), contract.Bucket, "files"))
		if err != nil {
			t.Fatal(err)
		}
		if got := names(pod.Spec.InitContainers); !slices.Equal(got, []string{contract.RestoreContainer, contract.SyncContainer}) {
			t.Errorf("init containers are %v", got)
		}
		if got := *pod.Spec.TerminationGracePeriodSeconds; got != 90 {
			t.Errorf("grace period is %d s, want 30 + 60", got)
		}
		if got := strings.Join(r.warnings.take(), "\n"); !strings.Contains(got, "no size limit") {
			t.Errorf("warnings: %q", got)
		}
	})

	t.Run("a pod without annotations is what it was", func(t *testing.T) {
		if after := r.untouched(t, "before", plain); !bytes.Equal(before, after) {
			t.Errorf("without the webhook:\n%s\nwith it:\n%s", before, after)
		}
	})

	t.Run("what is excluded never reaches the webhook", func(t *testing.T) {
		count := func() string {
			return hook.admissions(t, "skipped") + hook.admissions(t, "injected")
		}
		calls := count()
		off := r.namespace(t, "off", map[string]string{contract.InjectLabel: "disabled"})
		for name, pod := range map[string]*corev1.Pod{
			"inject: false":      annotated(inNamespace(samplePod("refused"), shop), contract.Bucket, "files", contract.Inject, "false"),
			"disabled namespace": annotated(inNamespace(samplePod("off"), off), contract.Bucket, "files"),
			"kube-system":        annotated(inNamespace(samplePod("system"), "kube-system"), contract.Bucket, "files"),
			"own namespace":      annotated(inNamespace(restrictedPod("own"), ownNamespace), contract.Bucket, "files"),
		} {
			created, err := r.create(t, pod)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if len(created.Spec.InitContainers) > 0 {
				t.Errorf("%s: was injected", name)
			}
		}
		if now := count(); now != calls {
			t.Errorf("the webhook was asked: %s, before: %s", now, calls)
		}
	})

	t.Run("a restricted namespace admits the injected pod", func(t *testing.T) {
		ns := r.namespace(t, "restricted", map[string]string{
			"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
		})
		r.warnings.take()
		for name, more := range map[string][]string{
			"native": nil, "ordinary": {contract.NativeSidecar, "false"}, "read-only": {contract.Mode, contract.ModeReadOnly},
		} {
			pod := annotated(inNamespace(restrictedPod(name), ns), append(more, contract.Bucket, "files", contract.SizeLimit, "1Gi")...)
			created, err := r.create(t, pod)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if len(created.Spec.InitContainers) == 0 {
				t.Errorf("%s: was not injected", name)
			}
		}
		if got := r.warnings.take(); len(got) > 0 {
			t.Errorf("warnings: %q", got)
		}
		// The test would prove nothing if the profile were not enforced.
		if _, err := r.create(t, inNamespace(samplePod("loose"), ns)); !apierrors.IsForbidden(err) {
			t.Errorf("a loose pod: error %v", err)
		}
	})

	t.Run("baseline admits a pod whose user nobody knows", func(t *testing.T) {
		ns := r.namespace(t, "baseline", map[string]string{"pod-security.kubernetes.io/enforce": "baseline"})
		if _, err := r.create(t, annotated(inNamespace(samplePod("root"), ns), contract.Bucket, "files")); err != nil {
			t.Error(err)
		}
	})

	t.Run("a mistake is denied with its sentence", func(t *testing.T) {
		for _, c := range []struct{ key, value, sentence string }{
			{"buckett", "files", `minio-sidecar/buckett is not known (did you mean "minio-sidecar/bucket"?)`},
			{contract.Mode, "sharde", `minio-sidecar/mode "sharde" must be "shared" or "read-only" (did you mean "shared"?)`},
			{contract.Inject, "no", `minio-sidecar/inject "no" must be "true" or "false"`},
			{contract.Containers, "ap", `minio-sidecar/containers names "ap", but the pod's containers are app`},
			{"exclusive", "true", `minio-sidecar/exclusive is not known`},
		} {
			pod := inNamespace(samplePod("mistake"), shop)
			if c.key != "buckett" {
				annotated(pod, contract.Bucket, "files")
			}
			_, err := r.create(t, annotated(pod, c.key, c.value))
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.sentence) {
				t.Errorf("%s: %q: error %v, want %s", c.key, c.value, err, c.sentence)
			}
		}
	})

	t.Run("a dry run shows the injection and leaves nothing", func(t *testing.T) {
		pod := annotated(inNamespace(samplePod("dry"), shop), contract.Bucket, "files")
		created, err := r.create(t, pod, client.DryRunAll)
		if err != nil {
			t.Fatal(err)
		}
		if len(created.Spec.InitContainers) != 2 {
			t.Error("was not injected")
		}
		if err := r.client.Get(t.Context(), client.ObjectKeyFromObject(pod), created); !apierrors.IsNotFound(err) {
			t.Errorf("get: error %v, want not found", err)
		}
	})

	t.Run("what was injected can be applied and updated again", func(t *testing.T) { applyTwice(t, r, shop) })

	t.Run("a copy of an injected pod passes unchanged", func(t *testing.T) {
		var pod corev1.Pod
		if err := r.client.Get(t.Context(), client.ObjectKey{Namespace: shop, Name: "annotated"}, &pod); err != nil {
			t.Fatal(err)
		}
		pod.ObjectMeta = metav1.ObjectMeta{Namespace: shop, Name: "copy", Labels: pod.Labels, Annotations: pod.Annotations}
		pod.Spec.NodeName = ""
		created, err := r.create(t, &pod)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := encode(t, pod.Spec), encode(t, created.Spec); !bytes.Equal(a, b) {
			t.Errorf("changed from\n%s\nto\n%s", a, b)
		}
	})

	t.Run("the budget of a pod is not exceeded", func(t *testing.T) { budget(t, r, shop) })

	t.Run("a container added by a later webhook gets the mount", func(t *testing.T) { laterWebhook(t, r, shop) })

	t.Run("an old node means an ordinary container", func(t *testing.T) { oldNode(t, r, shop) })

	t.Run("a pod that comes out without the sidecar is denied", func(t *testing.T) {
		var registration admissionv1.MutatingWebhookConfiguration
		key := client.ObjectKey{Name: "minio-sidecar-webhook"}
		if err := r.client.Get(t.Context(), key, &registration); err != nil {
			t.Fatal(err)
		}
		if err := r.client.Delete(t.Context(), &registration); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the policy to deny", func() error {
			_, err := r.create(t, annotated(inNamespace(samplePod("alone"), shop), contract.Bucket, "files"), client.DryRunAll)
			if err == nil || !strings.Contains(err.Error(), "it would start without its files") {
				return fmt.Errorf("got error %w", err)
			}
			return nil
		})
		if _, err := r.create(t, inNamespace(samplePod("bystander"), shop)); err != nil {
			t.Error(err)
		}
		r.install(t) // and the CA is filled in again
		eventually(t, "injection to work again", r.injects(t, shop))
	})

	t.Run("a second replica changes nothing", func(t *testing.T) {
		before := r.secret(t).ResourceVersion
		second := r.start(t, freePort(t))
		second.waitReady(t)
		if a, b := served(t, hook.port), served(t, second.port); a != b {
			t.Errorf("serves %s, the first one %s", b, a)
		}
		if after := r.secret(t).ResourceVersion; after != before {
			t.Error("rewrote the Secret")
		}
		if !hook.running() {
			t.Error("the first one has ended")
		}
		t.Logf("resident memory: %s", resident(t, hook))
	})

	t.Run("a new certificate is taken up without a restart", func(t *testing.T) {
		old := served(t, hook.port)
		oldCA := r.bundle(t)
		secret := r.secret(t)
		secret.Data = nil
		if err := r.client.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another certificate to be served", func() error {
			if served(t, hook.port) == old {
				return errors.New("still the old one")
			}
			return nil
		})
		eventually(t, "the registration to have its CA", func() error {
			if ca := r.bundle(t); bytes.Equal(ca, oldCA) || !bytes.Equal(ca, r.secret(t).Data["ca.crt"]) {
				return errors.New("another one")
			}
			return nil
		})
		eventually(t, "injection to work", r.injects(t, shop))
		if !hook.running() {
			t.Error("the webhook has ended")
		}
	})

	t.Run("certificates can come from files", func(t *testing.T) { certificateFiles(t, r) })

	t.Run("while it is away only annotated pods wait", func(t *testing.T) {
		hook.stop(t)
		_, err := r.create(t, annotated(inNamespace(samplePod("waits"), shop), contract.Bucket, "files"))
		if err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
			t.Errorf("an annotated pod: error %v", err)
		}
		if after := r.untouched(t, "before", plain); !bytes.Equal(before, after) {
			t.Errorf("another pod changed to %s", after)
		}
		again := r.start(t, r.port)
		again.waitReady(t)
		eventually(t, "injection to work again", r.injects(t, shop))
	})
}

// applyTwice does what `kubectl apply --server-side` and controllers do with a
// pod that the webhook has extended meanwhile.
func applyTwice(t *testing.T, r *rig, namespace string) {
	manifest := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{
			"name": "applied", "namespace": namespace,
			"annotations": map[string]any{contract.AnnotationPrefix + contract.Bucket: "files"},
		},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "app", "image": "app:1"}}},
	}}
	var specs []string
	for range 2 {
		object := manifest.DeepCopy()
		if err := r.client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("person")); err != nil {
			t.Fatalf("apply: %v", err)
		}
		specs = append(specs, string(encode(t, object.Object["spec"])))
	}
	if specs[0] != specs[1] {
		t.Errorf("applying again changed\n%s\nto\n%s", specs[0], specs[1])
	}
	if !strings.Contains(specs[1], contract.SyncContainer) {
		t.Error("the sidecar is gone")
	}
	var pod corev1.Pod
	if err := r.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "applied"}, &pod); err != nil {
		t.Fatal(err)
	}
	pod.Labels = map[string]string{"touched": "yes"}
	if err := r.client.Update(t.Context(), &pod); err != nil {
		t.Errorf("update: %v", err)
	}
	if got := string(encode(t, pod.Spec)); !strings.Contains(got, contract.SyncContainer) {
		t.Error("after an update the sidecar is gone")
	}
}

// oldNode lets a node with an old kubelet come and go.
func oldNode(t *testing.T, r *rig, namespace string) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
	if err := r.client.Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	node.Status.NodeInfo.KubeletVersion = "v1.28.15"
	if err := r.client.Status().Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	ordinary := func() (bool, error) {
		pod, err := r.create(t, annotated(inNamespace(samplePod("versions"), namespace), contract.Bucket, "files"), client.DryRunAll)
		return err == nil && slices.Contains(names(pod.Spec.Containers), contract.SyncContainer), err
	}
	eventually(t, "an ordinary container", func() error {
		if is, err := ordinary(); err != nil || !is {
			return fmt.Errorf("still native, error %w", err)
		}
		return nil
	})
	if err := r.client.Delete(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a native sidecar", func() error {
		if is, err := ordinary(); err != nil || is {
			return fmt.Errorf("still ordinary, error %w", err)
		}
		return nil
	})
}

// certificateFiles runs a webhook whose certificate somebody else provides.
func certificateFiles(t *testing.T, r *rig) {
	dir := t.TempDir()
	i := r.start(t, freePort(t), "--cert-source=files", "--cert-dir="+dir)
	eventually(t, "readiness to be refused for want of a certificate", func() error {
		text, err := get(i.health + "?verbose")
		if err == nil {
			t.Fatalf("is ready without a certificate: %s", text)
		}
		if !strings.Contains(err.Error(), "[-]certificate failed") {
			return err
		}
		return nil
	})
	first := writePair(t, dir)
	i.waitReady(t)
	if got := served(t, i.port); got != first {
		t.Errorf("serves %s, want %s", got, first)
	}
	if text, err := get(i.metrics); err != nil || !regexp.MustCompile(`(?m)^minio_sidecar_certificate_expiry_timestamp_seconds [1-9]`).MatchString(text) {
		t.Errorf("the metrics do not say when it expires, error %v", err)
	}
	second := writePair(t, dir)
	eventually(t, "the second certificate", func() error {
		if got := served(t, i.port); got != second {
			return fmt.Errorf("still %s", got)
		}
		return nil
	})
}

// injects is a try for [eventually]. A cluster's caches take a moment to know
// of a new registration or CA.
func (r *rig) injects(t *testing.T, namespace string) func() error {
	return func() error {
		pod, err := r.create(t, annotated(inNamespace(samplePod("try"), namespace), contract.Bucket, "files"), client.DryRunAll)
		if err == nil && len(pod.Spec.InitContainers) == 0 {
			err = errors.New("not injected")
		}
		return err
	}
}

// untouched creates the pod, and deletes it, and returns its JSON without what
// differs between any two pods.
func (r *rig) untouched(t *testing.T, namespace string, pod *corev1.Pod) []byte {
	t.Helper()
	created, err := r.create(t, inNamespace(pod.DeepCopy(), namespace))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.client.Delete(t.Context(), created, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	created.UID, created.ResourceVersion, created.CreationTimestamp = "", "", metav1.Time{}
	for i := range created.ManagedFields {
		created.ManagedFields[i].Time = nil
	}
	return encode(t, created)
}

func (r *rig) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	if err := r.client.Get(t.Context(), client.ObjectKey{Namespace: ownNamespace, Name: "minio-sidecar-webhook-cert"}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// bundle is the CA in the registration.
func (r *rig) bundle(t *testing.T) []byte {
	t.Helper()
	var c admissionv1.MutatingWebhookConfiguration
	if err := r.client.Get(t.Context(), client.ObjectKey{Name: "minio-sidecar-webhook"}, &c); err != nil {
		t.Fatal(err)
	}
	return c.Webhooks[0].ClientConfig.CABundle
}

// served is the certificate that a client is shown, as text to compare.
func served(t *testing.T, port int) string {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // compared, not trusted
	conn, err := dialer.DialContext(context.WithoutCancel(t.Context()), "tcp", fmt.Sprintf("localhost:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	return fmt.Sprintf("%x", leaf.Signature)
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}
