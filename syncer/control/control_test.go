package control_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/control"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is the other end of the wire: what is tested here is the wire.
type engine struct {
	status status.Status
	flush  func(ctx context.Context, confirm bool) error
}

func (e *engine) Status() status.Status { return e.status }

func (e *engine) Flush(ctx context.Context, confirm bool) error { return e.flush(ctx, confirm) }

func explain(err error) (int, string) { return 5, "explained: " + err.Error() }

// serve runs a syncer's control socket in dir; stop ends it.
func serve(t *testing.T, dir string, e control.Engine) (stop func()) {
	t.Helper()
	l, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, control.Local(e, explain)) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestStatusTravels(t *testing.T) {
	dir := t.TempDir()
	want := status.Status{
		Phase: status.Syncing, Condition: status.Halted, Message: "näh", Bucket: "b", Restored: true,
		Pending: 3, PendingPaths: []status.PathReason{{Path: "a\nb", Reason: "r"}},
		UnsyncableByReason: map[string]int64{"socket": 2},
		Progress:           status.Progress{FilesDone: 1, FilesTotal: 2, BytesDone: 3, BytesTotal: 1 << 40},
	}
	serve(t, dir, &engine{status: want})
	got, err := control.NewClient(dir).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFlush(t *testing.T) {
	dir := t.TempDir()
	var confirmed []bool
	e := &engine{flush: func(_ context.Context, confirm bool) error {
		confirmed = append(confirmed, confirm)
		if len(confirmed) == 3 {
			return errors.New("no room")
		}
		return nil
	}}
	serve(t, dir, e)
	client := control.NewClient(dir)
	for _, confirm := range []bool{false, true} {
		if err := client.Flush(t.Context(), confirm); err != nil {
			t.Fatal(err)
		}
	}
	err := client.Flush(t.Context(), false)
	var failure *control.Failure
	if !errors.As(err, &failure) || failure.ExitCode != 5 || failure.Sentence != "explained: no room" {
		t.Errorf("got %#v", err)
	}
	if want := []bool{false, true, false}; !reflect.DeepEqual(confirmed, want) {
		t.Errorf("confirmed: %v, want %v", confirmed, want)
	}
}

func TestFlushIsCancelledWithItsClient(t *testing.T) {
	dir := t.TempDir()
	started, ended := make(chan struct{}), make(chan struct{})
	serve(t, dir, &engine{flush: func(ctx context.Context, _ bool) error {
		close(started)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	if err := control.NewClient(dir).Flush(ctx, false); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	<-ended
}

func TestStoppingEndsFlushes(t *testing.T) {
	dir := t.TempDir()
	started := make(chan struct{})
	stop := serve(t, dir, &engine{flush: func(ctx context.Context, _ bool) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}})
	answered := make(chan error, 1)
	go func() { answered <- control.NewClient(dir).Flush(t.Context(), false) }()
	<-started
	stop()
	if err := <-answered; err == nil {
		t.Error("a flush that did not end was reported as done")
	}
	if _, err := os.Lstat(filepath.Join(dir, contract.SocketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// stale leaves a socket that nobody listens on.
func stale(t *testing.T, dir string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, contract.SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNotRunning(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, string){
		"never started": func(*testing.T, string) {},
		"killed":        stale,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			prepare(t, dir)
			_, err := control.NewClient(dir).Status(t.Context())
			if !errors.Is(err, control.ErrNotRunning) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSocketOfAKilledPredecessorIsReplaced(t *testing.T) {
	dir := t.TempDir()
	stale(t, dir)
	serve(t, dir, &engine{})
	if _, err := control.NewClient(dir).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSocketOfASuccessorStays(t *testing.T) {
	dir := t.TempDir()
	first, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, dir, &engine{status: status.Status{Bucket: "second"}})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := control.NewClient(dir).Status(t.Context()); err != nil || s.Bucket != "second" {
		t.Errorf("got %q, %v", s.Bucket, err)
	}
}

func TestSocketIsForItsOwnerAlone(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, &engine{})
	info, err := os.Lstat(filepath.Join(dir, contract.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("permissions %o, want 600", got)
	}
}

func TestSocketInADeepFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a", 100), strings.Repeat("b", 200))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	serve(t, dir, &engine{status: status.Status{Bucket: "deep"}})
	if s, err := control.NewClient(dir).Status(t.Context()); err != nil || s.Bucket != "deep" {
		t.Errorf("got %q, %v", s.Bucket, err)
	}
}

func TestListenTakesNothingAway(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, contract.SocketName)
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := control.Listen(dir); err == nil {
		_ = l.Close()
		t.Error("a file was taken for a socket")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := control.Listen(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestLocalRefusesWhatItDoesNotKnow(t *testing.T) {
	h := control.Local(&engine{flush: func(context.Context, bool) error { panic("must not be called") }}, explain)
	for target, want := range map[string]int{
		"GET /flush":                       http.StatusMethodNotAllowed,
		"POST /status":                     http.StatusMethodNotAllowed,
		"POST /flush?confirm-deletes=sure": http.StatusBadRequest,
		"GET /other":                       http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(target, " ")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
}

func TestServeOnAPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	flushed := false
	e := &engine{
		status: status.Status{Phase: status.Syncing, Condition: status.Unreachable, Message: "no answer"},
		flush:  func(_ context.Context, confirm bool) error { flushed = !confirm; return nil },
	}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "numbers") })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, control.Network(e, explain, metrics)) }()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(method, path string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		b, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(b)
	}
	if code, body := get("GET", "/metrics"); code != 200 || body != "numbers" {
		t.Errorf("metrics: %d %q", code, body)
	}
	// The store's being down is no reason to restart a syncer.
	if code, body := get("GET", "/healthz"); code != 200 || body != "syncing, store-unreachable: no answer\n" {
		t.Errorf("health: %d %q", code, body)
	}
	if code, body := get("POST", "/flush?confirm-deletes=true"); code != 200 || !flushed {
		t.Errorf("flush: %d %q, without confirmation: %v", code, body, flushed)
	}
	e.flush = func(context.Context, bool) error { return errors.New("full") }
	if code, body := get("POST", "/flush"); code != 503 || !strings.Contains(body, "explained: full") {
		t.Errorf("flush that fails: %d %q", code, body)
	}
	if code, _ := get("GET", "/status"); code != 404 {
		t.Errorf("the port tells paths: %d", code)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
