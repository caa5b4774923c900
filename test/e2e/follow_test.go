//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

const uploads = "/srv/uploads"

// The main thing: an ordinary app, one annotation, and its files are where its
// pod is.
func testFilesFollow(t *testing.T, c *cluster, s *store) {
	data, err := os.ReadFile("testdata/gallery.yaml")
	if err != nil {
		t.Fatal(err)
	}
	namespace := c.namespace(t, "gallery", nil)
	s.bucket(t, "gallery")
	c.kube(t, strings.ReplaceAll(string(data), "VERSION", c.version), "apply", "-n", namespace, "-f", "-")
	pod := &c.ready(t, namespace, "gallery", 1)[0]
	mustBeInjected(t, pod)
	first := pod.Spec.NodeName

	c.sh(t, pod, "web", "cd "+uploads+"\n"+tree)
	// Served from the volume, so it is the app's folder and no other.
	c.sh(t, pod, "web", `[ "$(wget -qO- http://127.0.0.1:8080/uploads/video.mp4 | sha256sum)" = "$(sha256sum < `+uploads+`/video.mp4)" ]`)
	var want []string

	t.Run("to another node when its node is cordoned", func(t *testing.T) {
		undo := c.cordon(t, first)
		// A barrier: from here on all of this is in the bucket, and whoever starts
		// finds it there.
		c.kube(t, "", "exec", "-n", namespace, pod.Name, "-c", "minio-sidecar-sync", "--", "/syncer", "flush")
		rest := c.list(t, pod, "web", uploads)
		want = c.writeLastSecond(t, pod)
		mustEndWell(t, c.end(t, pod))
		pod = &c.ready(t, namespace, "gallery", 1)[0]
		if pod.Spec.NodeName == first {
			t.Fatalf("still on %s", first)
		}
		undo()
		c.mustHaveFound(t, rest, pod)
		// The new pod may have started while the old one was still uploading, and
		// then pulls what it has not had.
		eventually(t, "the same files on "+pod.Spec.NodeName, func() error {
			return differ(want, c.list(t, pod, "web", uploads))
		})
	})
	t.Run("and back when it is started anew", func(t *testing.T) {
		undo := c.cordon(t, pod.Spec.NodeName)
		want = c.writeLastSecond(t, pod)
		c.scale(t, namespace, 0)
		c.kube(t, "", "wait", "-n", namespace, "--for=delete", "pod/"+pod.Name, "--timeout=90s")
		c.scale(t, namespace, 1)
		pod = &c.ready(t, namespace, "gallery", 1)[0]
		undo()
		if pod.Spec.NodeName != first {
			t.Fatalf("on %s, not on %s", pod.Spec.NodeName, first)
		}
		// Nobody was there but this pod: from its first moment it has everything.
		c.mustHaveFound(t, want, pod)
		c.mustHave(t, want, pod, "web", uploads)
	})
	t.Run("to three pods at once", func(t *testing.T) {
		c.scale(t, namespace, 3)
		pods := c.ready(t, namespace, "gallery", 3)
		var nodes []string
		for i := range pods {
			c.mustHaveFound(t, want, &pods[i])
			c.mustHave(t, want, &pods[i], "web", uploads)
			nodes = append(nodes, pods[i].Spec.NodeName)
		}
		if slices.Sort(nodes); len(slices.Compact(nodes)) < 2 {
			t.Errorf("all pods are on %s: nothing crossed the network", nodes[0])
		}
		c.sh(t, &pods[0], "web", "echo hello > "+uploads+"/from-one.txt")
		eventually(t, "a file of one pod in the others", func() error {
			for i := range pods {
				list := c.list(t, &pods[i], "web", uploads)
				if !slices.ContainsFunc(list, func(line string) bool { return strings.HasSuffix(line, "  ./from-one.txt") }) {
					return fmt.Errorf("not in %s", pods[i].Name)
				}
			}
			return nil
		})
	})
}

// mustHaveFound checks what the app saw at its very start: every file of the
// listing with its content.
func (c *cluster) mustHaveFound(t *testing.T, listing []string, pod *corev1.Pod) {
	t.Helper()
	found := strings.Split(c.sh(t, pod, "web", "cat /tmp/first-look"), "\n")
	isSum := regexp.MustCompile(`^[0-9a-f]{64} `)
	files, missing := 0, []string{}
	for _, line := range listing {
		if !isSum.MatchString(line) {
			continue
		}
		files++
		if !slices.Contains(found, line) {
			missing = append(missing, line)
		}
	}
	if files == 0 || len(missing) > 0 {
		t.Errorf("%s began without %d of %d files, such as %q", pod.Name, len(missing), files, missing[:min(len(missing), 5)])
	}
}

// writeLastSecond writes into the folder up to the moment it returns, and lists it.
func (c *cluster) writeLastSecond(t *testing.T, pod *corev1.Pod) []string {
	t.Helper()
	// The listing of what is at rest takes longer than a second, so it comes first.
	rest := c.list(t, pod, "web", uploads)
	late := c.sh(t, pod, "web", `
		cd `+uploads+`
		mkdir -p "late/$HOSTNAME"
		cd "late/$HOSTNAME"
		n=0
		while [ $n -lt 50 ]; do
			n=$((n + 1))
			date > "$n.txt"
			dd if=/dev/urandom bs=$((n * 1000)) count=1 2>/dev/null >> "$n.txt"
		done
		cd `+uploads+`
		find late -type f -name '*.txt' > /tmp/late
		xargs stat -c 'file ./%n mode=%a owner=%u:%g size=%s mtime=%y' < /tmp/late
		find late -type d -exec stat -c 'folder ./%n mode=%a owner=%u:%g' {} +
		xargs sha256sum < /tmp/late | sed 's,  ,  ./,'`)
	lines := append(rest, strings.Split(strings.TrimSpace(late), "\n")...)
	slices.Sort(lines)
	return slices.Compact(lines)
}

func (c *cluster) scale(t *testing.T, namespace string, replicas int) {
	t.Helper()
	c.kube(t, "", "scale", "-n", namespace, "deployment/gallery", fmt.Sprintf("--replicas=%d", replicas))
}

func mustBeInjected(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if status(pod, "minio-sidecar-restore") == nil || status(pod, "minio-sidecar-sync") == nil {
		t.Fatalf("pod %s runs without the sidecar", pod.Name)
	}
}

// An app that runs as root has files of many owners.
func testOwnersFollow(t *testing.T, c *cluster, s *store, nodes [2]string) {
	namespace := c.namespace(t, "owners", nil)
	a := app{name: "root", bucket: s.bucket(t, "owners")}

	a.node = nodes[0]
	pod := a.start(t, c, namespace)
	mustBeInjected(t, pod)
	c.sh(t, pod, "app", `
		cd /data
		mkdir mail spool
		for uid in 0 1 1001 65534; do
			echo "of $uid" > mail/$uid
			chmod 0600 mail/$uid
			chown $uid:$((uid + 1)) mail/$uid
		done
		chmod 2750 spool
		chown 7:8 spool
		echo x > tool
		chmod 4755 tool
		ln -s mail/1001 inbox
		chown -h 1001:1001 inbox`)
	want := c.list(t, pod, "app", "/data")
	mustEndWell(t, c.end(t, pod))

	a.node = nodes[1]
	pod = a.start(t, c, namespace)
	c.mustHave(t, want, pod, "app", "/data")
	c.end(t, pod)
}

// What an app writes while it is being stopped is the last chance to lose something.
func testLastWords(t *testing.T, c *cluster, s *store, nodes [2]string, native string) {
	kind := map[string]string{"true": "native", "false": "ordinary"}[native]
	namespace := c.namespace(t, "last-words-"+kind, nil)
	a := app{
		name:        "writer",
		bucket:      s.bucket(t, "last-words-"+kind),
		annotations: map[string]string{"native-sidecar": native},
		node:        nodes[0],
		script: `
			goodbye() {
				for n in 1 2 3 4 5; do
					echo "$n" > /data/goodbye-$n
					sleep 0.3
				done
				head -c 1000000 /dev/urandom > /data/state
				sha256sum < /data/state > /data/state.sum
				exit 0
			}
			trap goodbye TERM
			while :; do sleep 3600 & wait $!; done`,
	}
	pod := a.start(t, c, namespace)
	isNative := slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "minio-sidecar-sync" })
	if isNative != (native == "true") {
		t.Fatalf("native sidecar: %v", isNative)
	}
	c.sh(t, pod, "app", "echo hello > /data/hello")
	mustEndWell(t, c.end(t, pod))

	a.node, a.script = nodes[1], ""
	pod = a.start(t, c, namespace)
	c.sh(t, pod, "app", `
		cd /data
		[ "$(cat hello)" = hello ]
		[ "$(cat goodbye-1 goodbye-2 goodbye-3 goodbye-4 goodbye-5 | tr '\n' ' ')" = "1 2 3 4 5 " ]
		[ "$(sha256sum < state)" = "$(cat state.sum)" ]`)
	c.end(t, pod)
}
