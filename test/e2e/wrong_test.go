//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// mustSay checks that a text has all that a person needs to put it right.
func mustSay(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

func testMisspelt(t *testing.T, c *cluster) {
	namespace := c.namespace(t, "misspelt", nil)
	said := app{name: "wrong", bucket: "any", annotations: map[string]string{"flush-timout": "30s"}}.refused(t, c, namespace)
	mustSay(t, said, "minio-sidecar/flush-timout", "minio-sidecar/flush-timeout")

	// The one without which nothing would happen at all.
	said = app{name: "wrong", annotations: map[string]string{"buckett": "any"}}.refused(t, c, namespace)
	mustSay(t, said, "minio-sidecar/buckett", "minio-sidecar/bucket")
}

func testImpossible(t *testing.T, c *cluster) {
	namespace := c.namespace(t, "impossible", nil)
	for key, value := range map[string]string{
		"mode":          "exclusive-ish",
		"size-limit":    "ten gigabytes",
		"flush-timeout": "-1s",
		"endpoint":      "minio:9000",
		"path":          "data",
		"bucket":        "Not_A_Bucket",
	} {
		a := app{name: "wrong", bucket: "any", annotations: map[string]string{key: value}}
		mustSay(t, a.refused(t, c, namespace), "minio-sidecar/"+key, value)
	}
}

// Deployments are accepted; it is their pods that are not.
func testRefusedDeployment(t *testing.T, c *cluster) {
	namespace := c.namespace(t, "refused", nil)
	c.kube(t, strings.ReplaceAll(deploymentManifest, "BUCKET", "Not_A_Bucket"), "apply", "-n", namespace, "-f", "-")
	eventually(t, "describe replicaset", func() error {
		out := c.kube(t, "", "describe", "-n", namespace, "replicaset", "-l", "app=waits")
		if !strings.Contains(out, "minio-sidecar/bucket") || !strings.Contains(out, "Not_A_Bucket") {
			return fmt.Errorf("does not say why:\n%s", out)
		}
		return nil
	})
}

// inherited is what describe shows of the containers' settings: that a bucket
// is named there does not yet say what is wrong with it.
var inherited = regexp.MustCompile(`(?m)^ *(MINIO_SIDECAR_|minio-sidecar/).*\n`)

// described waits until `kubectl describe pod` says all of it, of a pod whose
// app does not start.
func described(t *testing.T, c *cluster, namespace, pod string, wants ...string) {
	t.Helper()
	describes(t, c, namespace, pod, wants...)
	if app := status(c.pod(t, namespace, pod), "app"); app == nil || app.State.Waiting == nil {
		t.Errorf("the app has started: %+v", app)
	}
}

// describes waits until `kubectl describe pod` says all of it.
func describes(t *testing.T, c *cluster, namespace, pod string, wants ...string) {
	t.Helper()
	eventually(t, "kubectl describe pod "+pod, func() error {
		out := inherited.ReplaceAllString(c.kube(t, "", "describe", "pod", "-n", namespace, pod), "")
		for _, want := range wants {
			if !strings.Contains(out, want) {
				return fmt.Errorf("%q is not in:\n%s", want, out)
			}
		}
		return nil
	})
}

func testNoSecret(t *testing.T, c *cluster) {
	namespace := c.namespace(t, "no-secret", nil)
	app{name: "waits", bucket: "made-on-demand", annotations: map[string]string{
		"secret":        "forgotten",
		"create-bucket": "true",
	}}.create(t, c, namespace)
	described(t, c, namespace, "waits", "FailedMount", `secret "forgotten" not found`)
	// It is enough to make it.
	c.secret(t, namespace, "forgotten", accessKey, secretKey)
	c.ready(t, namespace, "waits", 1)
}

func testWrongKey(t *testing.T, c *cluster, s *store) {
	namespace := c.namespace(t, "wrong-key", nil)
	bucket := s.bucket(t, "wrong-key")
	c.secret(t, namespace, "mistyped", accessKey, "not the key")
	app{name: "denied", bucket: bucket, annotations: map[string]string{"secret": "mistyped"}}.create(t, c, namespace)
	described(t, c, namespace, "denied", "Exit Code:    3", "access denied", bucket, "check the access key and the secret key")
}

func testNoBucket(t *testing.T, c *cluster) {
	namespace := c.namespace(t, "no-bucket", nil)
	app{name: "lost", bucket: "never-made"}.create(t, c, namespace)
	described(t, c, namespace, "lost", "Exit Code:    4", "no such bucket", "never-made", "create the bucket")
}

// A store that does not answer is not an empty store.
func testStoreDown(t *testing.T, c *cluster, s *store) {
	namespace := c.namespace(t, "store-down", nil)
	a := app{name: "patient", bucket: s.bucket(t, "store-down")}
	pod := a.start(t, c, namespace)
	c.sh(t, pod, "app", "echo precious > /data/file")
	want := c.list(t, pod, "app", "/data")
	mustEndWell(t, c.end(t, pod))

	s.stop(t)
	back := false
	defer func() {
		if !back {
			s.start(t)
		}
	}()
	a.create(t, c, namespace)
	described(t, c, namespace, "patient", "Exit Code:    5", "store unreachable", s.endpoint(), "check the endpoint, the store itself, and the network between")
	s.start(t)
	back = true
	pod = &c.ready(t, namespace, "patient", 1)[0]
	c.mustHave(t, want, pod, "app", "/data")
	c.end(t, pod)
}

// What could not be brought into the bucket at the end is said where a person
// looks, by its path, with the reason; what was there by then comes back.
func testStoreDownAtEnd(t *testing.T, c *cluster, s *store) {
	namespace := c.namespace(t, "unclean-end", nil)
	a := app{
		name: "unlucky", bucket: s.bucket(t, "unclean-end"), once: true,
		annotations: map[string]string{"flush-timeout": "5s"},
		script:      "until [ -e /tmp/end ]; do sleep 0.2; done",
	}
	pod := a.start(t, c, namespace)
	syncer := func(args ...string) string {
		return c.kube(t, "", append([]string{"exec", "-n", namespace, pod.Name, "-c", "minio-sidecar-sync", "--", "/syncer"}, args...)...)
	}
	c.sh(t, pod, "app", "echo early > /data/early")
	syncer("flush")

	s.stop(t)
	back := sync.OnceFunc(func() { s.start(t) })
	defer back()
	c.sh(t, pod, "app", "mkdir /data/notes; echo late > /data/notes/late.txt")
	eventually(t, "the status of the sync", func() error {
		// Its connections may lead to nowhere for a minute before it knows.
		if out := syncer("status"); !strings.Contains(out, "store-unreachable") {
			return fmt.Errorf("does not say that the store is unreachable: %s", out)
		}
		return nil
	})
	c.sh(t, pod, "app", "touch /tmp/end")
	describes(t, c, namespace, pod.Name, "Exit Code:    5", "not in the bucket: ", "notes/late.txt (", "flush-timeout 5s is over",
		"store unreachable", "check the endpoint, the store itself, and the network between")
	ended := status(c.pod(t, namespace, pod.Name), "minio-sidecar-sync")
	if ended == nil || ended.State.Terminated == nil || ended.State.Terminated.ExitCode != 5 ||
		!strings.Contains(ended.State.Terminated.Message, "notes/late.txt (") {
		t.Errorf("the status of the sync at its end: %+v", ended)
	}

	back()
	c.end(t, pod)
	pod = a.start(t, c, namespace)
	c.sh(t, pod, "app", "[ \"$(cat /data/early)\" = early ]; [ ! -e /data/notes ]")
	c.end(t, pod)
}
