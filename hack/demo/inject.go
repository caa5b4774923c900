package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	injector "github.com/minio-sidecar/minio-sidecar/webhook/inject"
	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

// inject shows what the webhook would make of a Deployment's pods, by the code
// that the webhook itself runs.
func inject(t *teller, manifest string) error {
	t.chapter("1. What the webhook adds")
	began := time.Now()
	text, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	var app appsv1.Deployment
	if err := yaml.UnmarshalStrict(text, &app); err != nil {
		return fmt.Errorf("read %s: %w", manifest, err)
	}
	before := &corev1.Pod{ObjectMeta: app.Spec.Template.ObjectMeta, Spec: app.Spec.Template.Spec}

	workload := settings.Workload{Kind: settings.Deployment, Name: app.Name}
	resolved, err := settings.Resolve(settings.Input{
		Annotations: before.Annotations,
		Defaults:    map[string]string{contract.Image: "minio-sidecar/syncer:demo"},
		Namespace:   "default",
		Workload:    workload,
	})
	if err != nil {
		return fmt.Errorf("the annotations of %s: %w", manifest, err)
	}
	inputs := injector.Inputs{
		Settings: resolved,
		Workload: workload,
		Cluster:  injector.Cluster{NativeSidecars: true},
		Version:  "demo",
	}
	after, warnings, err := injector.Inject(before, inputs)
	if err != nil {
		return fmt.Errorf("inject into %s: %w", manifest, err)
	}
	again, _, err := injector.Inject(after, inputs)
	if err != nil {
		return fmt.Errorf("inject into an injected pod: %w", err)
	}

	old, err := yaml.Marshal(before)
	if err != nil {
		return err
	}
	injected, err := yaml.Marshal(after)
	if err != nil {
		return err
	}
	twice, err := yaml.Marshal(again)
	if err != nil {
		return err
	}
	if string(twice) != string(injected) {
		return fmt.Errorf("injecting twice is not the same as injecting once:\n%s", diff.Diff("once", injected, "twice", twice))
	}

	t.say("docs/examples/%s asks for it with three annotations. This is all that happens to its pods:", filepath.Base(manifest))
	t.say("")
	_, changes, _ := strings.Cut(string(diff.Diff("as written", old, "as injected", injected)), "\n")
	t.diff(changes)
	for _, w := range warnings {
		t.say("warning: %s", w)
	}
	t.say("")
	t.kept(time.Since(began), "nothing of the app was changed but a mount; injecting twice adds nothing")
	return nil
}
