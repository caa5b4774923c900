//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// release is the chart, installed.
type release struct {
	cluster   *cluster
	name      string
	namespace string
	values    []string
}

const chart = "../../charts/minio-sidecar"

func install(t *testing.T, c *cluster, s *store) *release {
	t.Helper()
	r := &release{cluster: c, name: "minio-sidecar", namespace: "minio-sidecar-system"}
	for _, value := range []string{
		"image.repository=docker.io/minio-sidecar/webhook", "image.tag=" + c.version,
		"syncer.image.repository=docker.io/minio-sidecar/syncer", "syncer.image.tag=" + c.version,
		"defaults.endpoint=" + s.endpoint(),
	} {
		r.values = append(r.values, "--set-string", value)
	}

	_, err := c.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:   r.namespace,
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("minio-sidecar seems to be installed already: %v", err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if t.Failed() {
			c.dump(ctx, t, r.namespace)
		}
		if _, err := command(ctx, "", c.helm, "uninstall", r.name, "--namespace", r.namespace, "--ignore-not-found", "--wait"); err != nil {
			t.Errorf("helm uninstall: %v", err)
		}
		if err := c.client.CoreV1().Namespaces().Delete(ctx, r.namespace, metav1.DeleteOptions{}); err != nil {
			t.Errorf("removing namespace %s: %v", r.namespace, err)
		}
	})
	if out, err := command(t.Context(), "", c.helm, r.args("install", "--wait", "--timeout=2m")...); err != nil {
		t.Fatalf("helm install: %v", err)
	} else {
		t.Log(out)
	}
	return r
}

// args are those of helm install and helm upgrade.
func (r *release) args(verb string, more ...string) []string {
	args := append([]string{verb, r.name, chart, "--namespace", r.namespace}, r.values...)
	return append(args, more...)
}

func (r *release) helm(t *testing.T, args ...string) {
	t.Helper()
	out, err := command(t.Context(), "", r.cluster.helm, append([]string{"--namespace", r.namespace}, args...)...)
	if err != nil {
		t.Fatalf("helm %s: %v", strings.Join(args, " "), err)
	}
	t.Log(out)
}

const webhookPods = "app.kubernetes.io/name=minio-sidecar-webhook"

func (r *release) pods(t *testing.T) []corev1.Pod {
	t.Helper()
	list, err := r.cluster.client.CoreV1().Pods(r.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: webhookPods})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func (r *release) stop(t *testing.T) {
	t.Helper()
	r.cluster.kube(t, "", "scale", "-n", r.namespace, "deployment/minio-sidecar-webhook", "--replicas=0")
	eventually(t, "the webhook stops", func() error {
		if pods := r.pods(t); len(pods) > 0 {
			return fmt.Errorf("%d pods are left", len(pods))
		}
		return nil
	})
}

func (r *release) start(t *testing.T) {
	t.Helper()
	r.cluster.kube(t, "", "scale", "-n", r.namespace, "deployment/minio-sidecar-webhook", "--replicas=2")
	r.cluster.kube(t, "", "rollout", "status", "-n", r.namespace, "deployment/minio-sidecar-webhook", "--timeout=90s")
}

// After helm uninstall nothing is left that could stand in anybody's way, and
// pods that run go on as before.
func testUninstall(t *testing.T, c *cluster, s *store, r *release, untouched string) {
	namespace := c.namespace(t, "uninstall", nil)
	bucket := s.bucket(t, "uninstall")
	survivor := app{name: "survivor", bucket: bucket}.start(t, c, namespace)
	mustBeInjected(t, survivor)

	r.helm(t, "uninstall", r.name, "--wait")
	kinds := strings.Join([]string{
		"mutatingwebhookconfigurations", "validatingwebhookconfigurations",
		"validatingadmissionpolicies", "validatingadmissionpolicybindings",
		"clusterroles", "clusterrolebindings", "roles", "rolebindings", "serviceaccounts",
		"deployments", "replicasets", "pods", "services", "secrets", "configmaps", "leases",
		"poddisruptionbudgets", "networkpolicies",
	}, ",")
	eventually(t, "nothing is left", func() error { // the last pods have a moment to end
		left := c.kube(t, "", "get", kinds, "--ignore-not-found", "-o", "name", "-A", "-l", "app.kubernetes.io/instance="+r.name)
		if left != "" {
			return fmt.Errorf("helm uninstall left:\n%s", left)
		}
		return nil
	})
	// Nor anything that was made by the webhook itself, without the chart's labels.
	left := c.kube(t, "", "get", "secrets,configmaps,leases", "-n", r.namespace, "-o", "name", "--ignore-not-found")
	for name := range strings.Lines(left) {
		if name = strings.TrimSpace(name); name != "configmap/kube-root-ca.crt" {
			t.Errorf("helm uninstall left %s in %s", name, r.namespace)
		}
	}

	mustEqualPlainPod(t, c, untouched)
	later := app{name: "later", bucket: bucket}.start(t, c, namespace)
	if len(later.Spec.InitContainers) != 0 {
		t.Errorf("a pod that asks was injected by nobody knows whom: %+v", later.Spec.InitContainers)
	}

	c.sh(t, survivor, "app", "echo still here > /data/after")
	client := s.client(t)
	eventually(t, "a file that is written after the uninstall", func() error {
		got, err := s.content(t.Context(), client, bucket, "after")
		if err == nil && got != "still here\n" {
			err = fmt.Errorf("the bucket has %q", got)
		}
		return err
	})
	mustEndWell(t, c.end(t, c.pod(t, namespace, survivor.Name)))
}
