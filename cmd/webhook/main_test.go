package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

func TestFlagsComeFromTheEnvironmentToo(t *testing.T) {
	t.Setenv("MINIO_SIDECAR_NAMESPACE", "from-environment")
	t.Setenv("MINIO_SIDECAR_SERVICE", "from-environment")
	t.Setenv("MINIO_SIDECAR_CERT_SECRET", "") // as good as unset
	t.Setenv("MINIO_SIDECAR_WEBHOOK_PORT", "1234")
	t.Setenv("MINIO_SIDECAR_DEFAULT_ENDPOINT", "http://minio:9000")
	flags := command().Flags()
	if err := flags.Parse([]string{"--service=from-flag"}); err != nil {
		t.Fatal(err)
	}
	if err := fromEnvironment(flags); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"namespace": "from-environment", "service": "from-flag", "cert-secret": "minio-sidecar-webhook-cert",
		"webhook-port": "1234", "default-endpoint": "http://minio:9000",
	} {
		if got := flags.Lookup(name).Value.String(); got != want {
			t.Errorf("--%s is %q, want %q", name, got, want)
		}
	}
	t.Setenv("MINIO_SIDECAR_WEBHOOK_PORT", "tcp://10.0.0.1:443")
	flags = command().Flags()
	if err := fromEnvironment(flags); err == nil || !strings.Contains(err.Error(), "MINIO_SIDECAR_WEBHOOK_PORT") {
		t.Errorf("error %v does not name the variable", err)
	}
}

func TestMistakesAreSaidBeforeAClusterIsSought(t *testing.T) {
	c := command()
	c.SetArgs([]string{"--namespace=n", "--default-image=x", "--default-mode=sharde"})
	c.SetErr(new(strings.Builder))
	if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), `did you mean "shared"?`) {
		t.Errorf("error %v", err)
	}
}

// TestEveryKeyIsAFlagOrPodsOwn notices an annotation that nobody decided about.
func TestEveryKeyIsAFlagOrPodsOwn(t *testing.T) {
	flags := command().Flags()
	for _, key := range contract.Annotations() {
		if has, should := flags.Lookup("default-"+key) != nil, slices.Contains(settings.DefaultKeys(), key); has != should {
			t.Errorf("--default-%s: is a flag: %v, should be: %v", key, has, should)
		}
	}
}
