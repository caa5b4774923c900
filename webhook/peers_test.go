package webhook_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	reviewv1 "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// laterWebhook registers a webhook that is called after ours and adds a
// container, as meshes and log shippers do.
func laterWebhook(t *testing.T, r *rig, namespace string) {
	server := httptest.NewTLSServer(http.HandlerFunc(addContainer))
	defer server.Close()
	none, fail := admissionv1.SideEffectClassNone, admissionv1.Fail
	registration := &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "zz-later"}, // they are called in the order of their names
		Webhooks: []admissionv1.MutatingWebhook{{
			Name: "later.example.com", AdmissionReviewVersions: []string{"v1"}, SideEffects: &none, FailurePolicy: &fail,
			ClientConfig: admissionv1.WebhookClientConfig{
				URL:      &server.URL,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
	if err := r.client.Create(t.Context(), registration); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.client.Delete(t.Context(), registration); err != nil {
			t.Error(err)
		}
		eventually(t, "the later webhook to be forgotten", func() error {
			pod, err := r.create(t, inNamespace(samplePod("later-gone"), namespace), client.DryRunAll)
			if err == nil && len(pod.Spec.Containers) > 1 {
				err = fmt.Errorf("still called")
			}
			return err
		})
	}()
	eventually(t, "the later webhook's container with our mount", func() error {
		pod, err := r.create(t, annotated(inNamespace(samplePod("later"), namespace), contract.Bucket, "files"), client.DryRunAll)
		if err != nil {
			return err
		}
		if got := names(pod.Spec.Containers); !slices.Equal(got, []string{"app", "shipper"}) {
			return fmt.Errorf("containers are %v", got)
		}
		if got := names(pod.Spec.InitContainers); !slices.Equal(got, []string{contract.RestoreContainer, contract.SyncContainer}) {
			return fmt.Errorf("init containers are %v", got)
		}
		for _, c := range pod.Spec.Containers {
			if len(c.VolumeMounts) != 1 || c.VolumeMounts[0].Name != contract.DataVolume {
				return fmt.Errorf("mounts of %s are %v", c.Name, c.VolumeMounts)
			}
		}
		if got := *pod.Spec.TerminationGracePeriodSeconds; got != 90 {
			return fmt.Errorf("grace period is %d s", got)
		}
		return nil
	})
}

// addContainer is that webhook.
func addContainer(w http.ResponseWriter, req *http.Request) {
	var review reviewv1.AdmissionReview
	var pod corev1.Pod
	if err := json.NewDecoder(req.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := json.Unmarshal(review.Request.Object.Raw, &pod); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	kind := reviewv1.PatchTypeJSONPatch
	review.Response = &reviewv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if !slices.Contains(names(pod.Spec.Containers), "shipper") {
		review.Response.PatchType = &kind
		review.Response.Patch = []byte(`[{"op":"add","path":"/spec/containers/-","value":{"name":"shipper","image":"shipper:1"}}]`)
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// writePair puts a new key and certificate into dir and returns what [served]
// will say of it.
func writePair(t *testing.T, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	write(t, dir, "tls.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", leaf.Signature)
}

// budget makes pods whose containers share one budget. Our defaults are above it,
// and a container above its pod's limit makes the pod invalid.
func budget(t *testing.T, r *rig, namespace string) {
	pod := annotated(inNamespace(samplePod("budget"), namespace), contract.Bucket, "files")
	small := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("5m"), corev1.ResourceMemory: resource.MustParse("16Mi")}
	pod.Spec.Resources = &corev1.ResourceRequirements{Requests: small, Limits: small}
	created, err := r.create(t, pod)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range created.Spec.InitContainers {
		if len(c.Resources.Requests)+len(c.Resources.Limits) > 0 {
			t.Errorf("%s has resources of its own: %v", c.Name, c.Resources)
		}
	}
	// The test would prove nothing if the API server let more pass.
	pod = annotated(inNamespace(samplePod("above"), namespace), contract.Bucket, "files", contract.MemoryLimit, "64Mi")
	pod.Spec.Resources = &corev1.ResourceRequirements{Requests: small, Limits: small}
	if _, err := r.create(t, pod); !apierrors.IsInvalid(err) {
		t.Errorf("a container above its pod's limit: error %v", err)
	}
}
