package house

import (
	"bytes"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store/s3"
	"github.com/minio-sidecar/minio-sidecar/webhook/inject"
	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

// Values that come near the edge of what is allowed, on either side of it. What
// the webhook admits of them the syncer must take: a pod that is admitted and
// then cannot start is the worst time to be told.
var edges = map[string][]string{
	contract.Bucket: {"files", "my.bucket-1", "a-.b", "1.2.3.4", "1.2.3", "xn--files", "files-s3alias", strings.Repeat("a", 63)},
	contract.Prefix: {
		"", "a", "a/", "a//", "/", ".", "a/..", "$", "$$", "$(HOME)", "$$(HOME)", "{pod}", "{ordinal}/{pod}", "{namespace}/{workload}",
		"{pod}{pod}", "{pod}{pod}{pod}", "{pod}/{pod}/{pod}/{pod}", strings.Repeat("a", 511), strings.Repeat("$", 511), strings.Repeat("ä", 256),
		".minio-sidecar", "x/.minio-sidecar/y", "März 2026", "a b ", " a", "a\tb", "-", "#", "\"", `a\b`, "'",
	},
	contract.Endpoint: {
		"http://minio", "http://minio:", "http://minio:9000", "HTTP://minio", "https://minio.example.com/", "https://minio.example.com:443",
		"http://minio.svc.:80", "http://minio:0", "http://minio:09000", "http://minio:65536", "http://[::1]", "http://[::1]:9000",
		"http://[fe80::1%25eth0]:9000", "http://10.0.0.1:9000", "http://10.0.0.1.:9000", "http://_minio", "http://minio_1:9000", "http://minio-",
		"http://-minio", "http://.", "http://..", "http://a..b", "http://ä", "http://%C3%A4", "http://minio?", "http://minio#", "http://minio//",
		"http://@minio", "http://mi nio", "http://" + strings.Repeat("a", 253), "http://" + strings.Repeat("a", 254), "//minio", "http:minio",
	},
	contract.Region: {"us-east-1", "x", "_", ".", strings.Repeat("a", 64), strings.Repeat("a", 65)},
	contract.Mode:   {contract.ModeShared, contract.ModeReadOnly},
	contract.Delete: {"true", "false", "1"},
	contract.Include: {
		"", ",", " , ", "a", "a,b", " a , b ", "**/*.{jpg,png}, raw", "{a,b", "a},b", "{}", "[", "[]", "[a-]", "[^a]", "[!a]", `a\`, `a\,b`, `a\ ,b`,
		`a\/`, `a\//`, "/a", "a/", "a//", "//", ".", "./a", "..", "a/../b", "***", "**a", "$", "$(HOME)", "$$", "ä", "a\nb", "a\x00b", `\{a,b`, `{a\,b}`, "-",
	},
	contract.RestoreAt:      {"", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00.5+01:00", "2020-01-01T00:00:00,5Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "2020-01-01 00:00:00Z", "2020-01-01t00:00:00z"},
	contract.RestoreTimeout: {"0", "0s", "1ns", "-0s", "8760h", "8760h1ns", "1h30m", "+5m", ".5s", "1.s", "µs", "3µs", "1d"},
	contract.FlushTimeout:   {"0", "1ns", "60s", "8760h", "8761h", "1e3s"},
	contract.ScanInterval:   {"1s", "999ms", "8760h", "5m"},
	contract.BandwidthLimit: {
		"", "0", "00", "64Ki", "65535", "65536.5", "1.5Mi", "1e6", "1E6", "100e-1M", "10M", "999999999999999", "1000000000000000", "1P", "1E", "1Ei", "+64Ki",
		"070000", "70000000m", "0.0000001T", "1e15", "9e14", "-0",
	},
	contract.LogLevel:      {"debug", "info", "warn", "error"},
	contract.CreateBucket:  {"true", "false"},
	contract.NativeSidecar: {"true", "false"},
	contract.MetricsPort:   {"0", "1", "65535", "9808"},
}

func TestSyncerTakesWhatTheWebhookAdmits(t *testing.T) {
	syncer := buildSyncer(t)
	for key, values := range edges {
		t.Run(key, func(t *testing.T) {
			admitted := 0
			for _, value := range values {
				if agree(t, syncer, map[string]string{key: value}, nil) {
					admitted++
				}
			}
			if admitted == 0 {
				t.Errorf("none of %d values was admitted: nothing was tested", len(values))
			}
		})
	}
	t.Run("grace period", func(t *testing.T) {
		for _, seconds := range []int64{0, 1, 30, 1 << 32, 1<<63 - 1} {
			for _, native := range []string{"true", "false"} {
				agree(t, syncer, map[string]string{contract.NativeSidecar: native, contract.FlushTimeout: "8760h"}, &seconds)
			}
		}
	})
	t.Run("together", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) {
			annotations := map[string]string{}
			for _, key := range slices.Sorted(maps.Keys(edges)) {
				if rapid.Bool().Draw(r, "has "+key) {
					annotations[key] = rapid.SampledFrom(edges[key]).Draw(r, key)
				}
			}
			agree(r, syncer, annotations, nil)
		})
	})
}

// agree fails the test if the webhook admits a pod with these annotations, but
// the syncer does not take what it is told there.
func agree(t rapid.TB, syncer string, annotations map[string]string, grace *int64) (admitted bool) {
	t.Helper()
	yes, user := true, int64(1000)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:            strings.Repeat("x", 253),
			Labels:          map[string]string{"apps.kubernetes.io/pod-index": "2147483647"},
			OwnerReferences: []metav1.OwnerReference{{Kind: settings.StatefulSet, Name: "web$(HOME)", Controller: &yes}},
			Annotations:     map[string]string{contract.AnnotationPrefix + contract.Bucket: "files"},
		},
		Spec: corev1.PodSpec{
			SecurityContext:               &corev1.PodSecurityContext{RunAsUser: &user, RunAsGroup: &user},
			Containers:                    []corev1.Container{{Name: "app"}},
			TerminationGracePeriodSeconds: grace,
		},
	}
	for key, value := range annotations {
		pod.Annotations[contract.AnnotationPrefix+key] = value
	}
	workload := settings.WorkloadOf(pod)
	resolved, err := settings.Resolve(settings.Input{
		Annotations: pod.Annotations, Namespace: "shop", Workload: workload,
		Defaults: map[string]string{contract.Endpoint: "http://minio:9000", contract.Image: "syncer"},
	})
	if err != nil {
		return false
	}
	injected, _, err := inject.Inject(pod, inject.Inputs{
		Settings: resolved, Workload: workload, Cluster: inject.Cluster{NativeSidecars: true},
	})
	if err != nil {
		return false
	}
	for _, c := range slices.Concat(injected.Spec.InitContainers, injected.Spec.Containers) {
		if c.Name != contract.RestoreContainer && c.Name != contract.SyncContainer {
			continue
		}
		env := kubelet(injected, c.Env)
		// A folder that cannot be: that is found after all settings have been read.
		for _, flag := range []string{contract.FlagPath, contract.FlagStateDir, contract.FlagCredentialsDir} {
			env[contract.EnvName(flag)] = filepath.Join(syncer, flag)
		}
		cmd := exec.Command(syncer, c.Args...)
		for name, value := range env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		if said, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != contract.ExitFailure ||
			!bytes.Contains(said, []byte("not a directory")) {
			t.Errorf("the webhook admits %q, and %s ends with %v: %s", annotations, c.Name, err, said)
		}
	}
	if _, err := s3.New(s3.Config{Endpoint: resolved.Endpoint, Bucket: resolved.Bucket, CredentialsDir: "none"}); err != nil {
		t.Errorf("the webhook admits what no client takes: %v", err)
	}
	return true
}

// kubelet is the environment that a container gets.
func kubelet(pod *corev1.Pod, list []corev1.EnvVar) map[string]string {
	env := map[string]string{}
	for _, e := range list {
		switch {
		case e.ValueFrom == nil:
			// "$$" is a "$", and a reference to what is not known stays as it is.
			env[e.Name] = regexp.MustCompile(`\$\$|\$\([^)]*\)`).ReplaceAllStringFunc(e.Value, func(found string) string {
				if value, known := env[strings.Trim(found, "$()")]; known && found != "$$" {
					return value
				}
				return strings.Replace(found, "$$", "$", 1)
			})
		case e.ValueFrom.FieldRef.FieldPath == "metadata.name":
			env[e.Name] = pod.Name
		default:
			env[e.Name] = pod.Labels["apps.kubernetes.io/pod-index"]
		}
	}
	return env
}

func buildSyncer(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "syncer")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/syncer")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}
