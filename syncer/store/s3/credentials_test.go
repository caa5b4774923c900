package s3_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/store/s3"
)

// secret is a folder that changes as the kubelet changes a mounted Secret: the
// files are links through ..data, which is replaced as a whole.
type secret struct {
	dir string
	n   int
}

func mountSecret(t *testing.T, files map[string]string) *secret {
	t.Helper()
	s := &secret{dir: t.TempDir()}
	for _, name := range []string{contract.AccessKeyFile, contract.SecretKeyFile, contract.SessionTokenFile, contract.CAFile} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.replace(t, files)
	return s
}

func (s *secret) replace(t *testing.T, files map[string]string) {
	t.Helper()
	s.n++
	version := "..version" + strings.Repeat("x", s.n)
	if err := os.Mkdir(filepath.Join(s.dir, version), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(s.dir, version, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next := filepath.Join(s.dir, "..data_tmp")
	if err := os.Symlink(version, next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(s.dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func keys(srv *testenv.Server) map[string]string {
	// A line end, as `echo` leaves it, belongs not to the key.
	return map[string]string{contract.AccessKeyFile: srv.AccessKey + "\n", contract.SecretKeyFile: srv.SecretKey}
}

func fromDir(srv *testenv.Server, bucket, dir string) s3.Config {
	return s3.Config{Endpoint: srv.Endpoint, Region: testenv.Region, Bucket: bucket, CredentialsDir: dir, PartSize: part}
}

// eventually repeats f until it holds; a rotation is seen within seconds.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: still %v", what, err)
}

func TestCredentialsAreReadAgain(t *testing.T) {
	srv := testenv.MinIO(t)
	bucket := srv.NewBucket(t, false)
	wrong := map[string]string{contract.AccessKeyFile: "WRONGWRONGWRONGWRONG", contract.SecretKeyFile: "wrong-wrong"}
	dir := mountSecret(t, wrong)
	s := open(t, fromDir(srv, bucket, dir.dir))

	if err := s.CheckBucket(t.Context()); !errors.Is(err, store.ErrAccessDenied) {
		t.Fatalf("with wrong keys: %v", err)
	}
	// A refusal makes the next try look at once.
	dir.replace(t, keys(srv))
	if err := s.CheckBucket(t.Context()); err != nil {
		t.Fatalf("right after the keys were put right: %v", err)
	}
	dir.replace(t, wrong)
	eventually(t, "new wrong keys", func() error {
		if err := s.CheckBucket(t.Context()); !errors.Is(err, store.ErrAccessDenied) {
			return errors.New("not used yet")
		}
		return nil
	})
	// A Secret that lost a key says so, by name.
	dir.replace(t, map[string]string{contract.AccessKeyFile: srv.AccessKey})
	eventually(t, "a missing file", func() error {
		err := s.CheckBucket(t.Context())
		if !errors.Is(err, store.ErrAccessDenied) || !strings.Contains(err.Error(), filepath.Join(dir.dir, contract.SecretKeyFile)) {
			return err
		}
		return nil
	})
	dir.replace(t, keys(srv))
	eventually(t, "the right keys again", func() error { return s.CheckBucket(t.Context()) })
}

func TestCredentialsMissing(t *testing.T) {
	for name, files := range map[string]map[string]string{
		contract.AccessKeyFile: {contract.SecretKeyFile: "x"},
		contract.SecretKeyFile: {contract.AccessKeyFile: "x", contract.SecretKeyFile: " \n"},
		contract.CAFile:        {contract.AccessKeyFile: "x", contract.SecretKeyFile: "x", contract.CAFile: "not PEM"},
	} {
		dir := mountSecret(t, files)
		s := open(t, s3.Config{Endpoint: "http://127.0.0.1:1", Bucket: "bucket", CredentialsDir: dir.dir})
		err := s.CheckBucket(t.Context())
		if !errors.Is(err, store.ErrAccessDenied) || errors.Is(err, store.ErrUnreachable) ||
			!strings.Contains(err.Error(), filepath.Join(dir.dir, name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := open(t, s3.Config{Endpoint: "http://127.0.0.1:1", Bucket: "bucket", CredentialsDir: "/nonexistent"})
	if err := s.CheckBucket(t.Context()); !errors.Is(err, store.ErrAccessDenied) {
		t.Errorf("without a folder: %v", err)
	}
}

// Temporary credentials that may read, and nothing else.
func TestSessionTokenAndPolicy(t *testing.T) {
	srv := testenv.MinIO(t)
	bucket := srv.NewBucket(t, false)
	sts, err := credentials.NewSTSAssumeRole(srv.Endpoint, credentials.STSAssumeRoleOptions{
		AccessKey: srv.AccessKey, SecretKey: srv.SecretKey, Location: testenv.Region,
		Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],
			"Resource":["arn:aws:s3:::` + bucket + `","arn:aws:s3:::` + bucket + `/*"]}]}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	value, err := sts.GetWithContext(nil)
	if err != nil {
		t.Fatal(err)
	}
	all := open(t, config(srv, bucket))
	small := put(t, all, "p/small", 100)
	large := put(t, all, "p/large", 3*part)

	dir := mountSecret(t, map[string]string{
		contract.AccessKeyFile: value.AccessKeyID, contract.SecretKeyFile: value.SecretAccessKey,
		contract.SessionTokenFile: value.SessionToken,
	})
	s := open(t, fromDir(srv, bucket, dir.dir))
	if err := s.CheckBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, s, small, 100)
	wantWhole(t, s, large, 3*part)
	if _, err := s.Stat(t.Context(), "p/none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Stat of nothing: %v", err)
	}
	for name, err := range map[string]error{
		"small upload": try(s, "p/new", 100),
		"large upload": try(s, "p/new", 3*part),
		"delete":       s.Delete(t.Context(), "p/small", small.ETag),
	} {
		if !errors.Is(err, store.ErrAccessDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantWhole(t, all, small, 100)
}

func TestHTTPS(t *testing.T) {
	srv := testenv.MinIO(t, testenv.WithTLS())
	bucket := srv.NewBucket(t, false)
	dir := mountSecret(t, keys(srv))
	s := open(t, fromDir(srv, bucket, dir.dir))
	err := s.CheckBucket(t.Context())
	if !errors.Is(err, store.ErrUnreachable) || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("without ca.crt: %v", err)
	}

	pem, err := os.ReadFile(srv.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	files := keys(srv)
	files[contract.CAFile] = string(pem)
	dir.replace(t, files)
	eventually(t, "a new ca.crt", func() error { return s.CheckBucket(t.Context()) })
	for _, size := range []int64{0, 100, single + 1, 5*part + 1} {
		wantWhole(t, s, put(t, s, "p/a", size), size)
	}

	// Plain HTTP is not spoken there, and the answer tells what to change.
	cfg := fromDir(srv, bucket, dir.dir)
	cfg.Endpoint = strings.Replace(srv.Endpoint, "https:", "http:", 1)
	if err := open(t, cfg).CheckBucket(t.Context()); err == nil {
		t.Error("http to an https port worked")
	} else {
		t.Log(err)
	}
}
