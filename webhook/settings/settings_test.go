package settings_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

func defaults() map[string]string {
	return map[string]string{contract.Endpoint: "http://minio:9000", contract.Image: "syncer:1"}
}

// input is one pod of StatefulSet "web" in namespace "shop" with a bucket and
// these annotations, given as key, value, ….
func input(pairs ...string) settings.Input {
	annotations := map[string]string{contract.AnnotationPrefix + contract.Bucket: "files", "example.com/other": "x"}
	for i := 0; i < len(pairs); i += 2 {
		annotations[contract.AnnotationPrefix+pairs[i]] = pairs[i+1]
	}
	return settings.Input{
		Annotations: annotations, Defaults: defaults(), Namespace: "shop",
		Workload: settings.Workload{Kind: settings.StatefulSet, Name: "web"},
	}
}

func TestDefaults(t *testing.T) {
	s, err := settings.Resolve(input())
	if err != nil {
		t.Fatal(err)
	}
	if s.Bucket != "files" || s.Path != "/data" || s.Region != "us-east-1" || s.Secret != "minio-sidecar" ||
		s.Mode != contract.ModeShared || !s.Delete || s.FlushTimeout != time.Minute || s.ScanInterval != 5*time.Minute ||
		s.NativeSidecar != contract.NativeAuto || s.MetricsPort != 9808 || s.MetricsPortFixed || s.LogLevel != "info" || s.Endpoint != "http://minio:9000" || s.Image != "syncer:1" {
		t.Errorf("%+v", s)
	}
	if got := s.Resources.Limits.Memory().String() + " " + s.Resources.Requests.Memory().String() + " " + s.Resources.Requests.Cpu().String(); got != "256Mi 32Mi 10m" {
		t.Errorf("resources %s", got)
	}
}

func TestLayers(t *testing.T) {
	in := input(contract.Region, "eu-west-1")
	in.Defaults[contract.Region] = "mars-1"
	in.Defaults[contract.FlushTimeout] = "10s"
	in.Defaults[contract.MemoryLimit] = "1Gi"
	s, err := settings.Resolve(in)
	if err != nil {
		t.Fatal(err)
	}
	if s.Region != "eu-west-1" || s.FlushTimeout != 10*time.Second || s.Resources.Limits.Memory().String() != "1Gi" {
		t.Errorf("%+v", s)
	}
	if in.Defaults[contract.Region] != "mars-1" {
		t.Error("the defaults were changed")
	}
}

// TestMistakes has for each key what is not allowed, and a piece of the
// sentence that must name the key, the value and what is.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ key, value, sentence string }{
		{contract.Bucket, "", "minio-sidecar/bucket is empty: it must be 3 to 63"},
		{contract.Bucket, "ab", "3 to 63"},
		{contract.Bucket, "Files", `minio-sidecar/bucket "Files" must be`},
		{contract.Bucket, "a..b", "no dot beside another"},
		{contract.Bucket, "a-.b", "or a hyphen"},
		{contract.Bucket, "-ab", "begin and end"},
		{contract.Bucket, "192.168.0.1", "not look like an IP address"},
		{contract.Bucket, strings.Repeat("a", 64), "3 to 63"},
		{contract.Inject, "yes", `"true" or "false"`},
		{contract.Prefix, "/a", `without a leading "/"`},
		{contract.Prefix, "a/../b", `segments are not empty, "." or ".."`},
		{contract.Prefix, "a//b", "segments are not empty"},
		{contract.Prefix, "a/.minio-sidecar/b", "outside .minio-sidecar/"},
		{contract.Prefix, "a\nb", "without control characters"},
		{contract.Prefix, "a\xffb", "UTF-8"},
		{contract.Prefix, "{namespaces}", `(did you mean "{namespace}"?)`},
		{contract.Prefix, "{x}", `"{namespace}", "{workload}", "{pod}" or "{ordinal}"`},
		{contract.Prefix, "{pod", "balanced"},
		{contract.Prefix, "pod}", "balanced"},
		{contract.Prefix, strings.Repeat("a", 600), "at most 512 bytes"},
		{contract.Prefix, "{pod}/{pod}/{pod}", "where {pod} may become 253"},
		{contract.Path, "data", "absolute"},
		{contract.Path, "/", `below "/"`},
		{contract.Path, "/../", "absolute"},
		{contract.Path, "/a/../b", "absolute"},
		{contract.Path, "/a:b", `without ".." and ":"`},
		{contract.Volume, "My_Volume", "name of an emptyDir"},
		{contract.Containers, " , ", "comma-separated list of container names"},
		{contract.Containers, "app,minio-sidecar-sync", "minio-sidecar-sync is not one of them"},
		{contract.Endpoint, "minio:9000", "http://host:port or https://host:port"},
		{contract.Endpoint, "minio", "http://host:port"},
		{contract.Endpoint, "ftp://minio", "http://host:port"},
		{contract.Endpoint, "http://", "http://host:port"},
		{contract.Endpoint, "http://:9000", "http://host:port"},
		{contract.Endpoint, "http://minio:99999", "http://host:port"},
		{contract.Endpoint, "http://minio:", "http://host:port"},
		{contract.Endpoint, "http://_minio:9000", "http://host:port"},
		{contract.Endpoint, "http://[fe80::1%25eth0]:9000", "http://host:port"},
		{contract.Endpoint, "http://me:secret@minio", "without user and password"},
		{contract.Endpoint, "http://minio/bucket", "without path and query"},
		{contract.Endpoint, "http://minio?x=1", "without path and query"},
		{contract.Region, "eu west", "the store's region"},
		{contract.Secret, "My Secret", "name of a Secret"},
		{contract.Mode, "exclusive", `must be "shared" or "read-only"`},
		{contract.Mode, "readonly", `did you mean "read-only"?`},
		{contract.Delete, "1", `"true" or "false"`},
		{contract.Include, "a[", `"a[" is none`},
		{contract.Include, "ok/**,{a,b", `"{a,b" is none`},
		{contract.Include, " , ", "must be comma-separated globs"},
		{contract.Include, `a\/`, "is none"},
		{contract.Exclude, "a\x00", "is none"},
		{contract.Exclude, "/a/**", "without a leading"},
		{contract.Exclude, "../a", `".."`},
		{contract.SizeLimit, "10 GB", "Kubernetes quantity"},
		{contract.SizeLimit, "-1Gi", "above zero"},
		{contract.Medium, "memory", `did you mean "Memory"?`},
		{contract.CreateBucket, "", "is empty"},
		{contract.RestoreAt, "yesterday", "RFC 3339"},
		{contract.RestoreAt, "2026-11-23", `such as "2026-11-23T18:30:00Z"`},
		{contract.RestoreAt, "2026-11-23T18:30:00", "RFC 3339"}, // in which zone?
		{contract.RestoreTimeout, "10", "a duration"},
		{contract.RestoreTimeout, "-1s", "at least 0s"},
		{contract.FlushTimeout, "60", "a duration"},
		{contract.FlushTimeout, "-1s", "at least 0s"},
		{contract.FlushTimeout, "9000h", "a duration"},
		{contract.ScanInterval, "0s", "at least 1s"},
		{contract.BandwidthLimit, "fast", `such as "10Mi"`},
		{contract.BandwidthLimit, "10", `at least "64Ki"`}, // a forgotten unit
		{contract.BandwidthLimit, "1E", `below "1P"`},
		{contract.BandwidthLimit, "-1Mi", `at least "64Ki"`},
		{contract.CPURequest, "lots", `such as "100m"`},
		{contract.CPURequest, "0", "above zero"},
		{contract.CPULimit, "5m", `minio-sidecar/cpu-request "10m" is above minio-sidecar/cpu-limit "5m"`},
		{contract.MemoryRequest, "1Gi", `minio-sidecar/memory-request "1Gi" is above minio-sidecar/memory-limit "256Mi"`},
		{contract.MemoryLimit, "1Q%", `such as "128Mi"`},
		{contract.RunAsUser, "me", "0 to 2147483647"},
		{contract.RunAsUser, "-1", "0 to 2147483647"},
		{contract.RunAsGroup, "2147483648", "0 to 2147483647"},
		{contract.NativeSidecar, "yes", `"auto", "true" or "false"`},
		{contract.MetricsPort, "", "is empty: it must be a port"},
		{contract.MetricsPort, "http", "a port from 1 to 65535, or 0 for none"},
		{contract.MetricsPort, "-1", "from 1 to 65535"},
		{contract.MetricsPort, "65536", "from 1 to 65535"},
		{contract.Image, "", "is empty"},
		{contract.Image, "an image", "an image reference"},
		{contract.Image, "https://registry/x", "an image reference"},
		{contract.ImagePullPolicy, "always", `did you mean "Always"?`},
		{contract.LogLevel, "trace", `"debug", "info", "warn" or "error"`},
		{"Bucket", "x", `did you mean "minio-sidecar/bucket"?`},
		{"prefxi", "x", `did you mean "minio-sidecar/prefix"?`},
		{"xyzzy", "x", "is not known; the keys are bucket, inject"},
		{"", "x", "minio-sidecar/ is not known"},
		{"statsu", "x", "is not known; the keys are"}, // nobody should be led to write the status
	} {
		_, err := settings.Resolve(input(c.key, c.value))
		var problems settings.Errors
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.sentence) {
			t.Errorf("%s: %q: error %v, want …%s…", c.key, c.value, err, c.sentence)
			continue
		}
		if len(problems) != 1 {
			t.Errorf("%s: %q: %d problems for one mistake: %v", c.key, c.value, len(problems), err)
		}
		if !strings.Contains(err.Error(), contract.AnnotationPrefix+c.key) && !strings.Contains(c.sentence, "is above") {
			t.Errorf("%s: %q: error %v does not name the key", c.key, c.value, err)
		}
	}
}

func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		key, value string
		get        func(settings.Settings) any
		want       any
	}{
		{contract.Bucket, "my.bucket-1", func(s settings.Settings) any { return s.Bucket }, "my.bucket-1"},
		{contract.Inject, "true", func(s settings.Settings) any { return s.Bucket }, "files"},
		{contract.Prefix, "a", func(s settings.Settings) any { return s.Prefix }, "a/"},
		{contract.Prefix, "a/b/", func(s settings.Settings) any { return s.Prefix }, "a/b/"},
		{contract.Prefix, "", func(s settings.Settings) any { return s.Prefix }, ""},
		{contract.Prefix, "{namespace}/{workload}", func(s settings.Settings) any { return s.Prefix }, "shop/web/"},
		{contract.Prefix, "{ordinal}/{pod}", func(s settings.Settings) any { return s.Prefix }, "$(MINIO_SIDECAR_ORDINAL)/$(MINIO_SIDECAR_POD_NAME)/"},
		{contract.Prefix, "$(HOME)", func(s settings.Settings) any { return s.Prefix }, "$$(HOME)/"},
		{contract.Prefix, strings.Repeat("$", 511), func(s settings.Settings) any { return len(s.Prefix) }, 2*511 + 1},
		{contract.Prefix, "Fotos/2026 März", func(s settings.Settings) any { return s.Prefix }, "Fotos/2026 März/"},
		{contract.Path, "/srv//data/", func(s settings.Settings) any { return s.Path }, "/srv/data"},
		{contract.Containers, "a, b", func(s settings.Settings) any { return s.Containers }, []string{"a", "b"}},
		{contract.Endpoint, "https://s3.example.com/", func(s settings.Settings) any { return s.Endpoint }, "https://s3.example.com"},
		{contract.Endpoint, "http://minio.storage.svc.cluster.local.:9000", func(s settings.Settings) any { return s.Endpoint }, "http://minio.storage.svc.cluster.local.:9000"},
		{contract.Endpoint, "http://[::1]:9000", func(s settings.Settings) any { return s.Endpoint }, "http://[::1]:9000"},
		{contract.Include, "**/*.{jpg,png}, raw", func(s settings.Settings) any { return s.Include }, []string{"**/*.{jpg,png}", "raw"}},
		{contract.Exclude, "", func(s settings.Settings) any { return len(s.Exclude) }, 0},
		{contract.SizeLimit, "1.5Gi", func(s settings.Settings) any { return s.SizeLimit.Value() }, int64(3 << 29)},
		{contract.Medium, "Memory", func(s settings.Settings) any { return s.Medium }, corev1.StorageMediumMemory},
		{contract.RestoreAt, "2026-11-23T19:30:00+01:00", func(s settings.Settings) any { return s.RestoreAt },
			time.Date(2026, 11, 23, 18, 30, 0, 0, time.UTC)},
		{contract.RestoreAt, "", func(s settings.Settings) any { return s.RestoreAt.IsZero() }, true},
		{contract.RestoreTimeout, "1h30m", func(s settings.Settings) any { return s.RestoreTimeout }, 90 * time.Minute},
		{contract.FlushTimeout, "0", func(s settings.Settings) any { return s.FlushTimeout }, time.Duration(0)},
		{contract.BandwidthLimit, "1.5Mi", func(s settings.Settings) any { return s.BandwidthLimit }, int64(3 << 19)},
		{contract.BandwidthLimit, "1e6", func(s settings.Settings) any { return s.BandwidthLimit }, int64(1e6)},
		{contract.BandwidthLimit, "0", func(s settings.Settings) any { return s.BandwidthLimit }, int64(0)},
		{contract.BandwidthLimit, "", func(s settings.Settings) any { return s.BandwidthLimit }, int64(0)},
		{contract.MemoryLimit, "", func(s settings.Settings) any { _, is := s.Resources.Limits[corev1.ResourceMemory]; return is }, false},
		{contract.RunAsUser, "0", func(s settings.Settings) any { return *s.RunAsUser }, int64(0)},
		{contract.MetricsPort, "0", func(s settings.Settings) any { return s.MetricsPort }, int32(0)},
		{contract.MetricsPort, "65535", func(s settings.Settings) any { return s.MetricsPort }, int32(65535)},
		{contract.MetricsPort, "9808", func(s settings.Settings) any { return s.MetricsPortFixed }, true},
		{contract.ImagePullPolicy, "Never", func(s settings.Settings) any { return s.ImagePullPolicy }, corev1.PullNever},
		{contract.Status, "anything", func(s settings.Settings) any { return s.Bucket }, "files"},
	} {
		s, err := settings.Resolve(input(c.key, c.value))
		if err != nil {
			t.Errorf("%s: %q: %v", c.key, c.value, err)
		} else if got := c.get(s); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q gives %v, want %v", c.key, c.value, got, c.want)
		}
	}
}

func TestContradictions(t *testing.T) {
	for name, c := range map[string]struct {
		pairs    []string
		sentence string
	}{
		"volume and size":          {[]string{contract.Volume, "v", contract.SizeLimit, "1Gi"}, "contradicts minio-sidecar/size-limit"},
		"volume and medium":        {[]string{contract.Volume, "v", contract.Medium, "Memory"}, "contradicts minio-sidecar/medium"},
		"volume and path":          {[]string{contract.Volume, "v", contract.Path, "/x"}, "contradicts minio-sidecar/path"},
		"volume and containers":    {[]string{contract.Volume, "v", contract.Containers, "a"}, "contradicts minio-sidecar/containers"},
		"read-only and creating":   {[]string{contract.Mode, "read-only", contract.CreateBucket, "true"}, "contradicts minio-sidecar/mode read-only"},
		"past and keeping":         {[]string{contract.RestoreAt, "2026-11-23T18:30:00Z", contract.Delete, "false"}, "contradicts minio-sidecar/delete"},
		"creating is not so meant": {[]string{contract.Mode, "read-only", contract.CreateBucket, "false"}, ""},
	} {
		_, err := settings.Resolve(input(c.pairs...))
		if c.sentence == "" && err != nil || c.sentence != "" && (err == nil || !strings.Contains(err.Error(), c.sentence)) {
			t.Errorf("%s: error %v, want …%s…", name, err, c.sentence)
		}
	}
	// An annotation wins over a default that contradicts it.
	in := input(contract.Volume, "v", contract.Mode, "read-only")
	in.Defaults[contract.SizeLimit], in.Defaults[contract.CreateBucket] = "1Gi", "true"
	s, err := settings.Resolve(in)
	if err != nil || s.SizeLimit != nil || s.CreateBucket || s.Path != "" {
		t.Errorf("%+v, error %v", s, err)
	}
}

func TestMissing(t *testing.T) {
	in := input()
	in.Annotations = map[string]string{contract.AnnotationPrefix + contract.Region: "x"}
	in.Defaults = nil
	_, err := settings.Resolve(in)
	for _, key := range []string{contract.Bucket, contract.Endpoint, contract.Image} {
		if err == nil || !strings.Contains(err.Error(), contract.AnnotationPrefix+key+" is required") {
			t.Errorf("error %v does not ask for %s", err, key)
		}
	}
	in = input(contract.Prefix, "{workload}")
	in.Workload = settings.Workload{Kind: "Pod"}
	if _, err := settings.Resolve(in); err == nil || !strings.Contains(err.Error(), "neither an owner nor a name") {
		t.Errorf("error %v", err)
	}
}

func TestCheckDefaults(t *testing.T) {
	if err := settings.CheckDefaults(map[string]string{contract.Image: "x"}); err != nil {
		t.Errorf("an image alone: %v", err)
	}
	for key, c := range map[string][2]string{
		contract.Mode:        {"x", `must be "shared"`},
		contract.Endpoint:    {"x", "http://host:port"},
		contract.Bucket:      {"files", "is not known"},
		contract.RestoreAt:   {"2026-11-23T18:30:00Z", "is not known"},
		contract.Volume:      {"v", "is not known"},
		contract.MemoryLimit: {"1Mi", "is above"},
	} {
		err := settings.CheckDefaults(map[string]string{contract.Image: "x", key: c[0]})
		if err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s %q: error %v", key, c[0], err)
		}
	}
	if err := settings.CheckDefaults(nil); err == nil || !strings.Contains(err.Error(), "minio-sidecar/image is required") {
		t.Errorf("without an image: error %v", err)
	}
}

func TestAsked(t *testing.T) {
	for name, c := range map[string]struct {
		annotations map[string]string
		want        bool
	}{
		"nothing":       {nil, false},
		"others":        {map[string]string{"example.com/bucket": "x"}, false},
		"bucket":        {map[string]string{"minio-sidecar/bucket": "x"}, true},
		"misspelt":      {map[string]string{"minio-sidecar/buckett": "x"}, true},
		"inject: false": {map[string]string{"minio-sidecar/bucket": "x", "minio-sidecar/inject": "false"}, false},
		"inject: False": {map[string]string{"minio-sidecar/bucket": "x", "minio-sidecar/inject": "False"}, true},
	} {
		if got := settings.Asked(c.annotations); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWorkloadOf(t *testing.T) {
	owned := func(kind, name string, labels map[string]string) *corev1.Pod {
		yes := true
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: "p", Labels: labels, OwnerReferences: []metav1.OwnerReference{{Kind: kind, Name: name, Controller: &yes}},
		}}
	}
	for name, c := range map[string]struct {
		pod        *corev1.Pod
		kind, want string
	}{
		"bare":       {&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}, "Pod", "p"},
		"generated":  {&corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"}}, "Pod", "p"},
		"nameless":   {&corev1.Pod{}, "Pod", ""},
		"deployment": {owned("ReplicaSet", "web-7d4b9c6f5", map[string]string{"pod-template-hash": "7d4b9c6f5"}), "Deployment", "web"},
		"rollout":    {owned("ReplicaSet", "web-abc", map[string]string{"rollouts-pod-template-hash": "abc"}), "Rollout", "web"},
		"replicaset": {owned("ReplicaSet", "web-x", nil), "ReplicaSet", "web-x"},
		"other hash": {owned("ReplicaSet", "web-x", map[string]string{"pod-template-hash": "y"}), "ReplicaSet", "web-x"},
		"empty hash": {owned("ReplicaSet", "web-", map[string]string{"pod-template-hash": ""}), "ReplicaSet", "web-"},
		"set":        {owned("StatefulSet", "web", nil), "StatefulSet", "web"},
		"job":        {owned("Job", "run-1", nil), "Job", "run-1"},
	} {
		if got := settings.WorkloadOf(c.pod); got.Kind != c.kind || got.Name != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// FuzzResolve holds what must be true of whatever is accepted.
func FuzzResolve(f *testing.F) {
	for _, key := range contract.Annotations() {
		for _, value := range []string{"", "a", "true", "{pod}/$x", "../", "10Gi", "5m", "http://h", "a,b{c,d}", "$$(X)"} {
			f.Add(key, value)
		}
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		s, err := settings.Resolve(input(key, value))
		if err != nil {
			if len(err.Error()) == 0 {
				t.Error("an error without words")
			}
			return
		}
		if p := s.Prefix; p != "" && (!strings.HasSuffix(p, "/") || strings.HasPrefix(p, "/") ||
			strings.Contains("/"+p, "/../") || strings.Contains(p, "//") || strings.Contains("/"+p, "/.minio-sidecar/")) {
			t.Errorf("prefix %q", p)
		}
		if s.Path != "" && (s.Path == "/" || s.Path[0] != '/') {
			t.Errorf("path %q", s.Path)
		}
		if s.FlushTimeout < 0 || s.ScanInterval <= 0 {
			t.Errorf("durations %s, %s", s.FlushTimeout, s.ScanInterval)
		}
		if !strings.HasPrefix(s.Endpoint, "http://") && !strings.HasPrefix(s.Endpoint, "https://") {
			t.Errorf("endpoint %q", s.Endpoint)
		}
		// The same input gives the same settings.
		again, err := settings.Resolve(input(key, value))
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("resolved twice: %+v and %+v, error %v", s, again, err)
		}
	})
}
