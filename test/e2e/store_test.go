//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Throwaway: the store lives as long as the test.
const (
	accessKey = "e2e-access"
	secretKey = "e2e-secret-key"
)

// The store keeps its data in a folder of one node, so that it can be down and
// come back.
const storeManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: minio}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector: {matchLabels: {app: minio}}
  template:
    metadata: {labels: {app: minio}}
    spec:
      terminationGracePeriodSeconds: 1
      nodeSelector: {kubernetes.io/hostname: NODE}
      tolerations: [{operator: Exists, effect: NoSchedule}] # it must come back to its node, cordoned or not
      containers:
      - name: minio
        image: docker.io/minio-sidecar/e2e-minio:VERSION
        imagePullPolicy: IfNotPresent
        args: [server, /data/store, --address, ":9000"]
        env:
        - {name: MINIO_ROOT_USER, value: ACCESS}
        - {name: MINIO_ROOT_PASSWORD, value: SECRET}
        readinessProbe:
          httpGet: {path: /minio/health/ready, port: 9000}
          periodSeconds: 1
        volumeMounts: [{name: data, mountPath: /data}]
      volumes:
      - name: data
        hostPath: {path: FOLDER, type: DirectoryOrCreate}
---
apiVersion: v1
kind: Service
metadata: {name: minio}
spec:
  selector: {app: minio}
  ports: [{port: 9000}]
`

const wipeManifest = `
apiVersion: v1
kind: Pod
metadata: {name: wipe, labels: {app: wipe}}
spec:
  restartPolicy: Never
  nodeSelector: {kubernetes.io/hostname: NODE}
  tolerations: [{operator: Exists, effect: NoSchedule}]
  containers:
  - name: wipe
    image: docker.io/library/busybox:stable
    imagePullPolicy: IfNotPresent
    command: [rm, -rf, "/parent/RUN"]
    volumeMounts: [{name: parent, mountPath: /parent}]
  volumes:
  - name: parent
    hostPath: {path: /var/tmp/minio-sidecar-e2e}
`

// store is a real MinIO, as a pod of the cluster.
type store struct {
	cluster   *cluster
	namespace string
}

func startStore(t *testing.T, c *cluster, node string) *store {
	t.Helper()
	s := &store{cluster: c, namespace: c.namespace(t, "store", map[string]string{
		"pod-security.kubernetes.io/enforce": "privileged", // for the hostPath
	})}
	fill := strings.NewReplacer("NODE", node, "VERSION", c.version, "ACCESS", accessKey, "SECRET", secretKey,
		"RUN", c.run, "FOLDER", "/var/tmp/minio-sidecar-e2e/"+c.run)
	c.kube(t, fill.Replace(storeManifest), "apply", "-n", s.namespace, "-f", "-")
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, args := range [][]string{
			{"delete", "deployment", "minio", "--wait", "--cascade=foreground"},
			{"apply", "-f", "-"},
			{"wait", "pod/wipe", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"},
		} {
			if _, err := command(ctx, fill.Replace(wipeManifest), c.kubectl, append([]string{"-n", s.namespace}, args...)...); err != nil {
				t.Errorf("cleaning up the store: kubectl %s: %v", strings.Join(args, " "), err)
			}
		}
	})
	c.ready(t, s.namespace, "minio", 1)
	return s
}

// endpoint is the store's address inside the cluster.
func (s *store) endpoint() string { return "http://minio." + s.namespace + ".svc:9000" }

func (s *store) stop(t *testing.T) {
	t.Helper()
	s.cluster.kube(t, "", "scale", "-n", s.namespace, "deployment/minio", "--replicas=0")
	s.cluster.ready(t, s.namespace, "minio", 0)
}

func (s *store) start(t *testing.T) {
	t.Helper()
	s.cluster.kube(t, "", "scale", "-n", s.namespace, "deployment/minio", "--replicas=1")
	s.cluster.ready(t, s.namespace, "minio", 1)
}

var forwarding = regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+)`)

// client connects to the store from outside the cluster, for as long as the test runs.
func (s *store) client(t *testing.T) *minio.Client {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.cluster.kubectl, "port-forward", "-n", s.namespace, "service/minio", ":9000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // t's context has ended it
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		match := forwarding.FindStringSubmatch(lines.Text())
		if match == nil {
			continue
		}
		go func() { _, _ = io.Copy(io.Discard, out) }()
		client, err := minio.New(match[1], &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, "")})
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	t.Fatalf("port-forward to the store ended: %v", lines.Err())
	return nil
}

// bucket makes an empty bucket.
func (s *store) bucket(t *testing.T, name string) string {
	t.Helper()
	if err := s.client(t).MakeBucket(t.Context(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatalf("making bucket %s: %v", name, err)
	}
	return name
}

// content reads an object.
func (s *store) content(ctx context.Context, client *minio.Client, bucket, key string) (string, error) {
	object, err := client.GetObject(ctx, bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return "", err
	}
	defer object.Close()
	data, err := io.ReadAll(object)
	if err != nil {
		return "", fmt.Errorf("reading %s/%s: %w", bucket, key, err)
	}
	return string(data), nil
}
