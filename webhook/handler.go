package webhook

import (
	"context"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/json"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/minio-sidecar/minio-sidecar/webhook/inject"
	"github.com/minio-sidecar/minio-sidecar/webhook/patch"
	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

// Versions says what the cluster's versions allow, now and without waiting.
type Versions interface {
	Cluster() inject.Cluster
}

// Handler answers for one pod at a time: decode, settings, inject, patch. It
// asks nobody and leaves nothing behind, so a dry run is like any other.
type Handler struct {
	Defaults map[string]string // of the cluster, by annotation key without the prefix
	Versions Versions
	Metrics  *Metrics
	Version  string // of this webhook
}

// Handle implements [admission.Handler].
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	start := time.Now()
	response, result, reason := h.answer(req)
	h.Metrics.admitted(result, reason, time.Since(start))
	log := logf.FromContext(ctx).WithValues("result", result)
	if response.Allowed {
		log.V(1).Info("pod admitted", "warnings", len(response.Warnings))
	} else {
		log.Info("pod refused", "reason", reason, "message", response.Result.Message)
	}
	return response
}

// answer also says which result and reason the metrics count.
func (h *Handler) answer(req admission.Request) (admission.Response, string, string) {
	var pod corev1.Pod
	if err := json.Unmarshal(req.Object.Raw, &pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err), resultError, "decode"
	}
	if !settings.Asked(pod.Annotations) {
		return admission.Allowed(""), resultSkipped, "not-asked"
	}
	workload := settings.WorkloadOf(&pod)
	resolved, err := settings.Resolve(settings.Input{
		Annotations: pod.Annotations,
		Defaults:    h.Defaults,
		Namespace:   req.Namespace,
		Workload:    workload,
	})
	if err != nil {
		return admission.Denied(err.Error()), resultDenied, "annotations"
	}
	injected, warnings, err := inject.Inject(&pod, inject.Inputs{
		Settings: resolved,
		Workload: workload,
		Cluster:  h.Versions.Cluster(),
		Version:  h.Version,
	})
	if err != nil {
		return admission.Denied(err.Error()), resultDenied, "pod"
	}
	operations, err := patch.Between(&pod, injected)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err), resultError, "patch"
	}
	result := resultInjected
	if len(operations) == 0 {
		result = resultUnchanged
	}
	return admission.Patched("", operations...).WithWarnings(warnings...), result, ""
}
