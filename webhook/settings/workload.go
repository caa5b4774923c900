package settings

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kinds of workload that make a difference.
const (
	Deployment  = "Deployment"
	StatefulSet = "StatefulSet"
	Job         = "Job"
)

// Workload is what a person would say the pod belongs to.
type Workload struct {
	Kind string // of the owner, "Deployment" for the ReplicaSet of one, "Pod" for a bare pod
	Name string // may be empty for a bare pod without a name
}

// WorkloadOf reads the workload off the pod, without asking anybody. A Job that
// a CronJob made goes by its own name: nothing on its pods names the CronJob.
func WorkloadOf(pod *corev1.Pod) Workload {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		name := pod.Name
		if name == "" {
			name = strings.TrimSuffix(pod.GenerateName, "-")
		}
		return Workload{Kind: "Pod", Name: name}
	}
	if owner.Kind == "ReplicaSet" {
		// Deployments name a ReplicaSet after themselves and the hash that they
		// put on its pods as a label; Argo's Rollouts do the same with theirs.
		for kind, label := range map[string]string{
			Deployment: "pod-template-hash",
			"Rollout":  "rollouts-pod-template-hash",
		} {
			if name, found := strings.CutSuffix(owner.Name, "-"+pod.Labels[label]); found && pod.Labels[label] != "" {
				return Workload{Kind: kind, Name: name}
			}
		}
	}
	return Workload{Kind: owner.Kind, Name: owner.Name}
}
