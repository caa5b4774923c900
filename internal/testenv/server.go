// Package testenv starts the real object stores that tests run against: each
// on a free loopback port, with throwaway credentials and a data folder of its
// own, stopped when the test ends.
//
// It serves tests only. Nothing that is built into a product may import it.
package testenv

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// Region is what every server says its region is.
const Region = "us-east-1"

// Bounds on waiting. They are generous because a loaded machine is no fault;
// nothing ever waits longer than it must.
const (
	startTimeout = 2 * time.Minute
	stopTimeout  = 20 * time.Second
)

// Server is one running object store.
type Server struct {
	Name      string // minio, versitygw or rclone
	Endpoint  string // http://127.0.0.1:port, or https://…
	AccessKey string
	SecretKey string
	DataDir   string // where the server keeps its objects
	CAFile    string // PEM of the certificate to trust; empty without TLS

	port    int
	disk    string
	command func(*Server) command
	process *process
	logFile string
}

// command is how one kind of server is started.
type command struct {
	path string
	args []string
	env  []string
}

// Option changes how a server is started.
type Option func(*options)

type options struct {
	dataDir string
	disk    string
	tls     bool
	env     []string
}

// WithDataDir keeps the objects in dir, for example on a small file system.
func WithDataDir(dir string) Option { return func(o *options) { o.dataDir = dir } }

// WithTLS serves https with a self-signed certificate for 127.0.0.1 and
// localhost; see [Server.CAFile]. MinIO only.
func WithTLS() Option { return func(o *options) { o.tls = true } }

// WithDisk gives the server a disk of this size (as in "64m") for its objects.
// Only the server sees it, and it is gone when the server stops. To make room
// on it there is [Server.MakeRoom].
func WithDisk(size string) Option { return func(o *options) { o.disk = size } }

// WithEnv adds NAME=value pairs to the server's otherwise empty environment.
func WithEnv(pairs ...string) Option {
	return func(o *options) { o.env = append(o.env, pairs...) }
}

// newServer fills in what every kind of server has.
func newServer(t testing.TB, name string, opts []Option) (*Server, options) {
	t.Helper()
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	dir := t.TempDir()
	if o.dataDir == "" {
		o.dataDir = filepath.Join(dir, "data")
	}
	if err := os.MkdirAll(o.dataDir, 0o755); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	o.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir()}, o.env...)
	return &Server{
		disk:      o.disk,
		Name:      name,
		AccessKey: "AK" + strings.ToUpper(random(t, 9)),
		SecretKey: random(t, 20),
		DataDir:   o.dataDir,
		logFile:   filepath.Join(dir, name+".log"),
	}, o
}

// start chooses a port, starts the server and stops it when the test ends.
func (s *Server) start(t testing.TB) *Server {
	t.Helper()
	t.Cleanup(func() {
		s.Stop(t)
		if t.Failed() {
			t.Logf("%s said at its end:\n%s", s.Name, tail(s.logFile, 4<<10))
		}
	})
	scheme := "http"
	if s.CAFile != "" {
		scheme = "https"
	}
	// Between finding a port free and the server's taking it, another process
	// may take it; then another port is tried.
	for range 5 {
		s.port = freePort(t)
		s.Endpoint = fmt.Sprintf("%s://127.0.0.1:%d", scheme, s.port)
		err := s.tryStart(t)
		if err == nil {
			return s
		}
		if !strings.Contains(tail(s.logFile, 64<<10), "in use") {
			t.Fatalf("start %s: %v\n%s", s.Name, err, tail(s.logFile, 4<<10))
		}
	}
	t.Fatalf("start %s: no port stayed free long enough", s.Name)
	return nil
}

// Start starts a stopped server again: same port, same data, same credentials.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if s.process != nil {
		return
	}
	if err := s.tryStart(t); err != nil {
		t.Fatalf("start %s again: %v\n%s", s.Name, err, tail(s.logFile, 4<<10))
	}
}

// Stop ends the server as an administrator would. A stopped server stays
// stopped until [Server.Start].
func (s *Server) Stop(t testing.TB) { t.Helper(); s.end(t, (*process).terminate) }

// Kill ends the server without warning, as a power cut would.
func (s *Server) Kill(t testing.TB) { t.Helper(); s.end(t, (*process).kill) }

func (s *Server) end(t testing.TB, how func(*process) error) {
	t.Helper()
	if s.process == nil {
		return
	}
	if err := how(s.process); err != nil {
		t.Errorf("stop %s: %v", s.Name, err)
	}
	s.process = nil
}

// Pid is the process id of the running server, 0 when it is stopped.
func (s *Server) Pid() int {
	if s.process == nil {
		return 0
	}
	return s.process.pid
}

func (s *Server) tryStart(t testing.TB) error {
	t.Helper()
	c := s.command(s)
	if s.disk != "" {
		c = onDisk(c, s.DataDir, s.disk)
	}
	p, err := startProcess(c, s.logFile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := s.awaitReady(ctx, p); err != nil {
		_ = p.kill()
		return err
	}
	s.process = p
	return nil
}

// awaitReady returns when the server answers an authenticated request, which
// is later than when it first listens, and tells strangers from friends: MinIO
// knows its own user before it can ask whether there are others.
func (s *Server) awaitReady(ctx context.Context, p *process) error {
	client, err := s.newClient()
	if err != nil {
		return err
	}
	stranger := *s
	stranger.AccessKey = "nobody"
	strange, err := stranger.newClient()
	if err != nil {
		return err
	}
	for {
		_, err := client.ListBuckets(ctx)
		if err == nil {
			_, err = strange.ListBuckets(ctx)
			if status := minio.ToErrorResponse(err).StatusCode; 400 <= status && status < 500 {
				return nil
			}
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended while starting: %w", p.err)
		case <-ctx.Done():
			return fmt.Errorf("not ready in time, last answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Client is a plain S3 client of the server, for what the tested code must not
// be trusted with: preparing and inspecting.
func (s *Server) Client(t testing.TB) *minio.Core {
	t.Helper()
	client, err := s.newClient()
	if err != nil {
		t.Fatalf("client of %s: %v", s.Name, err)
	}
	return client
}

func (s *Server) newClient() (*minio.Core, error) {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: 5 * time.Second}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return minio.NewCore(u.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""),
		Secure:       u.Scheme == "https",
		Region:       Region,
		BucketLookup: minio.BucketLookupPath,
		Transport:    transport,
		MaxRetries:   1,
	})
}

// NewBucket creates a bucket with a name of its own and returns the name.
func (s *Server) NewBucket(t testing.TB, versioned bool) string {
	t.Helper()
	name := "test-" + random(t, 6)
	client := s.Client(t)
	if err := client.MakeBucket(t.Context(), name, minio.MakeBucketOptions{Region: Region}); err != nil {
		t.Fatalf("create bucket %s on %s: %v", name, s.Name, err)
	}
	if versioned {
		if err := client.EnableVersioning(t.Context(), name); err != nil {
			t.Fatalf("enable versioning of bucket %s on %s: %v", name, s.Name, err)
		}
	}
	return name
}

// MakeRoom deletes an object so that there is room in its place. What is deleted
// in the usual way MinIO moves to a trash folder. It empties that at once only if
// its figure of the free room, up to a second old, is small, and otherwise five
// minutes after its start: it waits for that before it reads the setting that
// says otherwise. Other servers ignore that it is asked to be thorough.
func (s *Server) MakeRoom(t testing.TB, bucket, key string) {
	t.Helper()
	err := s.Client(t).Client.RemoveObject(t.Context(), bucket, key, minio.RemoveObjectOptions{ForceDelete: true})
	if err != nil {
		t.Fatalf("delete %s from bucket %s on %s: %v", key, bucket, s.Name, err)
	}
}

// CredentialsDir writes the server's credentials into a new folder, laid out
// as the syncer's --credentials-dir expects.
func (s *Server) CredentialsDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{contract.AccessKeyFile: s.AccessKey, contract.SecretKeyFile: s.SecretKey}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		files[contract.CAFile] = string(pem)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// random is n random bytes in hexadecimal.
func random(t testing.TB, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}
