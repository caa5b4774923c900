package webhook_test

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

func samplePod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app:1"}}},
	}
}

func restrictedPod(name string) *corev1.Pod {
	pod := samplePod(name)
	yes, no, user := true, false, int64(1000)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	return pod
}

func inNamespace(pod *corev1.Pod, namespace string) *corev1.Pod {
	pod.Namespace = namespace
	return pod
}

// annotated adds annotations given as key, value, key, value, ….
func annotated(pod *corev1.Pod, pairs ...string) *corev1.Pod {
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	for pair := range slices.Chunk(pairs, 2) {
		pod.Annotations[contract.AnnotationPrefix+pair[0]] = pair[1]
	}
	return pod
}

func names(containers []corev1.Container) []string {
	var all []string
	for _, c := range containers {
		all = append(all, c.Name)
	}
	return all
}
