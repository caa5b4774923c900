//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// patience is how long a step may take before the test gives up. It only ends
// tests that would fail anyway, so it is generous.
const patience = 2 * time.Minute

// cluster is the one under test. What a person would type goes through kubectl
// and helm, so that the tests see what a person sees.
type cluster struct {
	client        kubernetes.Interface
	kubectl, helm string
	version       string // tag of the images under test
	run           string // sets this run's names apart
}

func connect(t *testing.T) *cluster {
	t.Helper()
	setting := func(name string) string {
		value := os.Getenv(name)
		if value == "" {
			t.Fatalf("%s is not set: run these tests by hack/e2e/run", name)
		}
		return value
	}
	config, err := clientcmd.BuildConfigFromFlags("", setting("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 100, 200
	config.WarningHandler = rest.NoWarnings{} // those are for people, who use kubectl
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{
		client:  client,
		kubectl: setting("KUBECTL"),
		helm:    setting("HELM"),
		version: setting("VERSION"),
		run:     rand.String(4),
	}
}

// command runs a program and returns what it printed, and what it said when it fails.
func command(ctx context.Context, stdin, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%w: %s%s", err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// kube runs kubectl, which must succeed.
func (c *cluster) kube(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := command(t.Context(), stdin, c.kubectl, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// sh runs a script in a container of a pod.
func (c *cluster) sh(t *testing.T, pod *corev1.Pod, container, script string) string {
	t.Helper()
	return c.kube(t, script, "exec", "-i", "-n", pod.Namespace, pod.Name, "-c", container, "--", "sh", "-seu")
}

// namespace makes a namespace with the key to the store, shows what went on in it
// if the test fails, and removes it.
func (c *cluster) namespace(t *testing.T, name string, labels map[string]string) string {
	t.Helper()
	name = "e2e-" + c.run + "-" + name
	_, err := c.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if t.Failed() {
			c.dump(ctx, t, name)
		}
		if err := c.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("removing namespace %s: %v", name, err)
		}
	})
	c.secret(t, name, "minio-sidecar", accessKey, secretKey)
	return name
}

func (c *cluster) secret(t *testing.T, namespace, name, access, secret string) {
	t.Helper()
	_, err := c.client.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		StringData: map[string]string{"access-key": access, "secret-key": secret},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// dump shows what a person would look at.
func (c *cluster) dump(ctx context.Context, t *testing.T, namespace string) {
	t.Helper()
	show := func(args ...string) {
		args = append([]string{"-n", namespace}, args...)
		out, err := command(ctx, "", c.kubectl, args...)
		t.Logf("=== kubectl %s (%v)\n%s", strings.Join(args, " "), err, out)
	}
	show("get", "all", "-o", "wide")
	show("describe", "pods")
	show("get", "events", "--sort-by=.lastTimestamp")
	pods, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Logf("listing pods of %s: %v", namespace, err)
		return
	}
	for _, pod := range pods.Items {
		statuses := append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...)
		for _, status := range statuses {
			show("logs", pod.Name, "-c", status.Name, "--tail=100")
			if status.RestartCount > 0 {
				show("logs", pod.Name, "-c", status.Name, "--tail=100", "--previous")
			}
		}
	}
}

// eventually waits until check is content, and fails with its last complaint if
// it never is.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, errors.Join(t.Context().Err(), err))
		case <-tick.C:
		}
	}
}

// pods returns the pods with app=name that are not on their way out.
func (c *cluster) pods(t *testing.T, namespace, name string) []corev1.Pod {
	t.Helper()
	list, err := c.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		t.Fatal(err)
	}
	var pods []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// ready waits until exactly n pods with app=name are there and ready.
func (c *cluster) ready(t *testing.T, namespace, name string, n int) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	eventually(t, fmt.Sprintf("%d ready pods of %s", n, name), func() error {
		pods = c.pods(t, namespace, name)
		count := 0
		for _, pod := range pods {
			if isReady(pod) {
				count++
			}
		}
		if count != n || len(pods) != n {
			return fmt.Errorf("%d of %d pods are ready", count, len(pods))
		}
		return nil
	})
	return pods
}

func isReady(pod corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// pod returns one pod as it is now.
func (c *cluster) pod(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod, err := c.client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// status returns a container's, of whatever kind, or nil before it has one.
func status(pod *corev1.Pod, container string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if list[i].Name == container {
				return &list[i]
			}
		}
	}
	return nil
}

// end deletes a pod, waits until it is gone, and returns how its containers ended.
func (c *cluster) end(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	watch, err := c.client.CoreV1().Pods(pod.Namespace).Watch(t.Context(), metav1.ListOptions{
		FieldSelector: "metadata.name=" + pod.Name, ResourceVersion: pod.ResourceVersion,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	if err := c.client.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	last := pod
	deadline := time.After(patience)
	for {
		select {
		case event, ok := <-watch.ResultChan():
			if now, isPod := event.Object.(*corev1.Pod); isPod {
				last = now
			}
			if !ok || event.Type == "DELETED" {
				return last
			}
		case <-deadline:
			t.Fatalf("pod %s does not end", pod.Name)
		}
	}
}

// mustEndWell checks that sync said at its end that everything is in the bucket.
func mustEndWell(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	ended := status(pod, "minio-sidecar-sync")
	if ended == nil || ended.State.Terminated == nil {
		t.Errorf("nobody saw the end of minio-sidecar-sync of %s", pod.Name)
		return
	}
	if ended.State.Terminated.ExitCode != 0 {
		t.Errorf("minio-sidecar-sync of %s: exit %d, %q", pod.Name,
			ended.State.Terminated.ExitCode, ended.State.Terminated.Message)
	}
}

// cordon keeps new pods away from a node until undo or the end of the test.
func (c *cluster) cordon(t *testing.T, node string) (undo func()) {
	t.Helper()
	set := func(ctx context.Context, unschedulable bool) error {
		patch := fmt.Appendf(nil, `{"spec":{"unschedulable":%v}}`, unschedulable)
		_, err := c.client.CoreV1().Nodes().Patch(ctx, node, "application/strategic-merge-patch+json", patch, metav1.PatchOptions{})
		return err
	}
	if err := set(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	undo = func() {
		if err := set(context.WithoutCancel(t.Context()), false); err != nil {
			t.Errorf("uncordoning %s: %v", node, err)
		}
	}
	t.Cleanup(undo)
	return undo
}

// workers returns the names of two nodes that take pods.
func (c *cluster) workers(t *testing.T) [2]string {
	t.Helper()
	nodes, err := c.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, node := range nodes.Items {
		if !node.Spec.Unschedulable && len(node.Spec.Taints) == 0 {
			names = append(names, node.Name)
		}
	}
	if len(names) < 2 {
		t.Fatalf("two nodes that take pods are needed, there are %v", names)
	}
	return [2]string{names[0], names[1]}
}
