package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A probe is what a person asks before anything else. What it answers is kept
// in testdata/probe, a file a store.
func TestProbe(t *testing.T) {
	t.Parallel()
	shared := testenv.MinIO(t)
	for name, prepare := range map[string]func(t *testing.T) *lab{
		"minio":     func(t *testing.T) *lab { return newLab(t, shared) },
		"versitygw": func(t *testing.T) *lab { return newLab(t, testenv.Versitygw(t)) },
		"rclone":    func(t *testing.T) *lab { return newLab(t, testenv.RcloneS3(t)) },
		"minio-versioned": func(t *testing.T) *lab {
			l := newLab(t, shared)
			l.bucket = shared.NewBucket(t, true)
			return l
		},
		"versitygw-versioned": func(t *testing.T) *lab {
			server := testenv.Versitygw(t)
			l := newLab(t, server)
			l.bucket = server.NewBucket(t, true)
			return l
		},
		"may-only-read": func(t *testing.T) *lab {
			l := newLab(t, shared)
			l.credentials = l.user("s3:ListBucket", "s3:GetObject")
			return l
		},
		"may-not-delete": func(t *testing.T) *lab {
			l := newLab(t, shared)
			l.credentials = l.user("s3:ListBucket", "s3:GetObject", "s3:PutObject")
			return l
		},
		"may-not-read": func(t *testing.T) *lab {
			l := newLab(t, shared)
			l.credentials = l.user("s3:ListBucket", "s3:PutObject", "s3:DeleteObject")
			return l
		},
		"may-not-list": func(t *testing.T) *lab {
			l := newLab(t, shared)
			l.credentials = l.user("s3:GetObject", "s3:PutObject", "s3:DeleteObject")
			return l
		},
		// What the documentation tells an administrator to allow.
		"may-what-it-must": func(t *testing.T) *lab {
			l := newLab(t, shared)
			l.credentials = l.user("s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject")
			return l
		},
		"no-such-user": func(t *testing.T) *lab {
			l := newLab(t, shared)
			l.credentials = keysDir(t, "nobody", "nothing-at-all")
			return l
		},
		"no-such-bucket": func(t *testing.T) *lab {
			l := newLab(t, shared)
			l.check(l.server.Client(t).RemoveBucket(t.Context(), l.bucket))
			return l
		},
		"no-store": func(t *testing.T) *lab {
			l := newLab(t, testenv.MinIO(t))
			l.server.Stop(t)
			return l
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := prepare(t)
			golden(t, filepath.Join("testdata", "probe", name+".txt"), l.probe())
			switch name {
			case "no-store", "no-such-bucket", "may-not-delete":
				return
			}
			for v := range l.server.Client(t).ListObjectsIter(t.Context(), l.bucket, minio.ListObjectsOptions{
				Recursive: true, WithVersions: strings.HasSuffix(name, "-versioned"),
			}) {
				t.Errorf("left behind: %s %s %v", v.Key, v.VersionID, v.Err)
			}
		})
	}
}

// probe returns all that a person sees of it.
func (l *lab) probe() []byte {
	l.t.Helper()
	cmd := l.node().command("probe")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	text := fmt.Sprintf("%s%sexit code %d\n", out.Bytes(), complaint.Bytes(), cmd.ProcessState.ExitCode())
	text = regexp.MustCompile(`/probe/[A-Z2-7]{26}/`).ReplaceAllString(text, "/probe/RANDOM/")
	return []byte(strings.NewReplacer(
		l.bucket, "BUCKET",
		l.server.Endpoint, "ENDPOINT",
		strings.TrimPrefix(l.server.Endpoint, "http://"), "HOST:PORT",
		l.credentials, "KEYS",
	).Replace(text))
}

// user makes a user of MinIO who may do this with the bucket and no more, and
// returns the folder with the keys.
func (l *lab) user(actions ...string) string {
	l.t.Helper()
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Effect": "Allow", "Action": actions,
			"Resource": []string{"arn:aws:s3:::" + l.bucket, "arn:aws:s3:::" + l.bucket + "/*"},
		}},
	})
	l.check(err)
	file := filepath.Join(l.t.TempDir(), "policy.json")
	l.check(os.WriteFile(file, policy, 0o600))
	l.mc("admin", "policy", "create", "store", l.bucket, file)
	l.mc("admin", "user", "add", "store", l.bucket, "throwaway-of-the-user")
	l.mc("admin", "policy", "attach", "store", l.bucket, "--user", l.bucket)
	return keysDir(l.t, l.bucket, "throwaway-of-the-user")
}

func keysDir(t *testing.T, access, secret string) string {
	t.Helper()
	dir := t.TempDir()
	for name, key := range map[string]string{contract.AccessKeyFile: access, contract.SecretKeyFile: secret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update accepts it):\n%s", file, diff)
	}
}
