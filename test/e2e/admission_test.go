//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

const jobManifest = `
apiVersion: batch/v1
kind: Job
metadata: {name: report}
spec:
  backoffLimit: 0
  template:
    metadata:
      labels: {app: report}
      annotations: {minio-sidecar/bucket: job, minio-sidecar/prefix: "{namespace}/{workload}"}
    spec:
      restartPolicy: Never
      containers:
      - name: report
        image: docker.io/library/busybox:stable
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "tr a-z A-Z < /data/input.txt > /data/output.txt"]
`

// A Job reads what the bucket has, writes what the bucket gets, and ends.
func testJob(t *testing.T, c *cluster, s *store) {
	namespace := c.namespace(t, "job", nil)
	s.bucket(t, "job")
	client := s.client(t)
	prefix := namespace + "/report/"
	input := "words from elsewhere"
	_, err := client.PutObject(t.Context(), "job", prefix+"input.txt", strings.NewReader(input), int64(len(input)), minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.kube(t, jobManifest, "apply", "-n", namespace, "-f", "-")
	c.kube(t, "", "wait", "-n", namespace, "job/report", "--for=condition=complete", "--timeout=90s")
	for _, pod := range c.pods(t, namespace, "report") {
		mustEndWell(t, &pod)
	}
	got, err := s.content(t.Context(), client, "job", prefix+"output.txt")
	if err != nil || got != strings.ToUpper(input) {
		t.Errorf("the bucket has %q, %v", got, err)
	}
}

// What the namespace demands of the app it demands of what is injected, too.
func testRestricted(t *testing.T, c *cluster, s *store) {
	namespace := c.namespace(t, "restricted", map[string]string{
		"pod-security.kubernetes.io/enforce":         "restricted",
		"pod-security.kubernetes.io/enforce-version": "latest",
	})
	a := app{name: "strict", bucket: s.bucket(t, "restricted"), restricted: true}
	pod := a.start(t, c, namespace)
	mustBeInjected(t, pod)
	c.sh(t, pod, "app", `
		cd /data
		umask 077
		echo private > private
		mkdir folder
		echo more > folder/more`)
	want := c.list(t, pod, "app", "/data")
	mustEndWell(t, c.end(t, pod))
	pod = a.start(t, c, namespace)
	c.mustHave(t, want, pod, "app", "/data")
	c.end(t, pod)
}

// plainPod returns the bytes with which the API server answers the creation of a
// pod that does not ask for anything, less what is different each time.
func (c *cluster) plainPod(t *testing.T) string {
	t.Helper()
	pod := app{name: "plain"}.pod()
	pod.Annotations = map[string]string{"example.com/kept": "as it is"}
	pod.Spec.AutomountServiceAccountToken = ptr.To(false) // its volume's name is random
	body, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").
		Param("dryRun", "All").SetHeader("Content-Type", "application/json").Body(body).Do(t.Context()).Raw()
	if err != nil {
		t.Fatalf("creating a pod without annotations: %v", err)
	}
	changing := regexp.MustCompile(`"(uid|creationTimestamp|time)":"[^"]*"`)
	return changing.ReplaceAllString(string(raw), `"$1":""`)
}

func mustEqualPlainPod(t *testing.T, c *cluster, untouched string) {
	t.Helper()
	if diff := cmp.Diff(untouched, c.plainPod(t)); diff != "" {
		t.Errorf("a pod that does not ask for anything is changed (-before +now):\n%s", diff)
	}
}

// While the webhook is down, those that ask wait, and nobody else notices.
func testWebhookDown(t *testing.T, c *cluster, s *store, r *release, untouched string) {
	namespace := c.namespace(t, "webhook-down", nil)
	bucket := s.bucket(t, "webhook-down")
	r.stop(t)
	defer r.start(t)

	mustEqualPlainPod(t, c, untouched)
	app{name: "plain"}.start(t, c, namespace)
	said := app{name: "asks", bucket: bucket}.refused(t, c, namespace)
	if !strings.Contains(said, `failed calling webhook "pods.minio-sidecar.io"`) {
		t.Errorf("kubectl says %q", said)
	}
	// Somebody who does not want it gets a pod even now.
	app{name: "declines", bucket: bucket, annotations: map[string]string{"inject": "false"}}.create(t, c, namespace)

	manifest := strings.ReplaceAll(deploymentManifest, "BUCKET", bucket)
	c.kube(t, manifest, "apply", "-n", namespace, "-f", "-")
	eventually(t, "events say why there is no pod", func() error {
		if out := c.kube(t, "", "describe", "-n", namespace, "replicaset", "-l", "app=waits"); !strings.Contains(out, "failed calling webhook") {
			return fmt.Errorf("they say:\n%s", out)
		}
		return nil
	})
	if pods := c.pods(t, namespace, "waits"); len(pods) != 0 {
		t.Errorf("%d pods were created without their files", len(pods))
	}
	r.start(t)
	mustBeInjected(t, &c.ready(t, namespace, "waits", 1)[0])
}

const deploymentManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: waits}
spec:
  selector: {matchLabels: {app: waits}}
  template:
    metadata:
      labels: {app: waits}
      annotations: {minio-sidecar/bucket: BUCKET}
    spec:
      containers:
      - name: app
        image: docker.io/library/busybox:stable
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "` + idle + `"]
`

func testSpread(t *testing.T, r *release) {
	nodes := map[string]bool{}
	for _, pod := range r.pods(t) {
		nodes[pod.Spec.NodeName] = true
	}
	if len(nodes) != 2 {
		t.Errorf("the webhook's replicas are on %v", nodes)
	}
}

// An upgrade replaces the webhook's pods and leaves its certificate in place: there
// is no moment in which a pod that asks is refused.
func testUpgrade(t *testing.T, c *cluster, s *store, r *release) {
	namespace := c.namespace(t, "upgrade", nil)
	bucket := s.bucket(t, "upgrade")
	upgraded := make(chan error, 1)
	go func() {
		_, err := command(t.Context(), "", c.helm, r.args("upgrade", "--set", "logLevel=debug", "--wait", "--timeout=2m")...)
		upgraded <- err
	}()
	body, err := json.Marshal(app{name: "asks", bucket: bucket}.pod())
	if err != nil {
		t.Fatal(err)
	}
	for tries := 0; ; tries++ {
		var pod corev1.Pod
		err := c.client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").
			Param("dryRun", "All").SetHeader("Content-Type", "application/json").Body(body).Do(t.Context()).Into(&pod)
		if err != nil {
			t.Fatalf("after %d pods, one is refused: %v (helm upgrade: %v)", tries, err, <-upgraded)
		}
		if len(pod.Spec.InitContainers) != 2 {
			t.Errorf("after %d pods, one is not injected", tries)
		}
		select {
		case err := <-upgraded:
			if err != nil {
				t.Errorf("helm upgrade: %v", err)
			}
			t.Logf("%d pods were admitted meanwhile", tries+1)
			return
		default:
		}
	}
}
