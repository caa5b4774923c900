//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const busybox = "docker.io/library/busybox:stable"

// app is a pod of one container, named "app", that asks for a bucket.
type app struct {
	name        string
	bucket      string
	annotations map[string]string // without the prefix; besides bucket
	node        string            // where to run; anywhere if empty
	image       string            // busybox, as root, if empty
	script      string            // what it runs; it idles if empty
	once        bool              // the pod has ended when the script has
	restricted  bool              // as a namespace with the restricted profile wants it
}

// idle ends at once when it is told to, as a good server does.
const idle = `trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done`

func (a app) pod() *corev1.Pod {
	script := a.script
	if script == "" {
		script = idle
	}
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        a.name,
			Labels:      map[string]string{"app": a.name},
			Annotations: map[string]string{},
		},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name:            "app",
				Image:           busybox,
				ImagePullPolicy: corev1.PullIfNotPresent,
				Command:         []string{"sh", "-c", script},
			}},
		},
	}
	if a.bucket != "" {
		pod.Annotations["minio-sidecar/bucket"] = a.bucket
	}
	for key, value := range a.annotations {
		pod.Annotations["minio-sidecar/"+key] = value
	}
	if a.image != "" {
		pod.Spec.Containers[0].Image = a.image
		pod.Spec.Containers[0].Command = nil
	}
	if a.node != "" {
		pod.Spec.NodeSelector = map[string]string{"kubernetes.io/hostname": a.node}
	}
	if a.once {
		pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	}
	if a.restricted {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{
			RunAsUser:      ptr.To[int64](1001),
			RunAsGroup:     ptr.To[int64](1002),
			FSGroup:        ptr.To[int64](1003),
			RunAsNonRoot:   ptr.To(true),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		}
		pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
	}
	return pod
}

func (a app) manifest(t *testing.T) string {
	t.Helper()
	data, err := yaml.Marshal(a.pod())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// create makes the pod by kubectl, as a person would.
func (a app) create(t *testing.T, c *cluster, namespace string) *corev1.Pod {
	t.Helper()
	c.kube(t, a.manifest(t), "create", "-n", namespace, "-f", "-")
	return c.pod(t, namespace, a.name)
}

// start makes the pod and waits until it is ready.
func (a app) start(t *testing.T, c *cluster, namespace string) *corev1.Pod {
	t.Helper()
	a.create(t, c, namespace)
	return &c.ready(t, namespace, a.name, 1)[0]
}

// refused makes the pod, which must fail, and returns what kubectl said.
func (a app) refused(t *testing.T, c *cluster, namespace string) string {
	t.Helper()
	_, err := command(t.Context(), a.manifest(t), c.kubectl, "create", "-n", namespace, "-f", "-")
	if err == nil {
		t.Fatalf("pod %s was accepted", a.name)
	}
	return err.Error()
}

// tree makes files of every kind that people have, 500 of them and more, in the
// current folder. Some are empty, one has 64 MiB.
const tree = `
n=0
for album in 1 2 3 4 5 6 7 8 9 10; do
    for day in a b c d e; do
        mkdir -p "album $album/$day/raw"
        for shot in 1 2 3 4 5 6 7 8 9 10; do
            n=$((n + 1))
            case $((n % 5)) in
            0) f="album $album/$day/Größe $n – déjà vu.txt" ;;
            1) f="album $album/$day/写真 $n.jpg" ;;
            2) f="album $album/$day/raw/shot%20$n+.raw" ;;
            3) f="album $album/$day/raw/🌻$n" ;;
            4) f="album $album/$day/plain-$n.txt" ;;
            esac
            dd if=/dev/urandom of="$f" bs=$((n * 37)) count=$((n % 10 > 0)) 2>/dev/null
            case $((n % 3)) in
            0) chmod 0600 "$f" ;;
            1) chmod 0755 "$f" ;;
            esac
            [ $((n % 7)) != 0 ] || touch -d "1999-12-31 23:59:$((10 + n % 50))" "$f"
        done
    done
done
dd if=/dev/urandom of=video.mp4 bs=1M count=64 2>/dev/null
ln -s "album 1/a" newest
ln -s ../nowhere/at/all dangling
mkdir -p "empty folder/inside"
chmod 0700 "empty folder/inside"
touch -d "1984-01-02 03:04:05" "album 1"
`

// listing prints all that must survive of the current folder: content, size,
// mode, owner and time of files; mode and owner of folders (their times are their
// children's doing); targets of links.
const listing = `
seen() { find . -mindepth 1 -path ./.minio-sidecar -prune -o "$@"; }
{
    seen -type f -exec stat -c 'file %n mode=%a owner=%u:%g size=%s mtime=%y' {} +
    seen -type d -exec stat -c 'folder %n mode=%a owner=%u:%g' {} +
    seen -type l -exec stat -c 'link %N owner=%u:%g' {} +
    seen -type f -exec sha256sum {} +
} | sort
`

// list returns the listing of a folder in a pod, one line an element.
func (c *cluster) list(t *testing.T, pod *corev1.Pod, container, folder string) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(c.sh(t, pod, container, "cd "+folder+"\n"+listing)), "\n")
}

// mustHave checks that a folder in a pod holds exactly what want lists.
func (c *cluster) mustHave(t *testing.T, want []string, pod *corev1.Pod, container, folder string) {
	t.Helper()
	if err := differ(want, c.list(t, pod, container, folder)); err != nil {
		t.Errorf("%s on %s: %v", pod.Name, pod.Spec.NodeName, err)
	}
}

// differ says how two listings differ, briefly.
func differ(want, got []string) error {
	var lines []string
	for _, line := range want {
		if !slices.Contains(got, line) {
			lines = append(lines, "missing: "+line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			lines = append(lines, "instead: "+line)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	const most = 40
	if more := len(lines) - most; more > 0 {
		lines = append(lines[:most], fmt.Sprintf("and %d more lines", more))
	}
	return fmt.Errorf("%d lines expected, %d there:\n%s", len(want), len(got), strings.Join(lines, "\n"))
}
