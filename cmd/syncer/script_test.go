package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/control"
)

// terminationEnv names the file that stands for a container's termination log.
const terminationEnv = "TEST_TERMINATION_LOG"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"syncer": func() {
			tuneMemory()
			p := newProgram()
			p.termination = os.Getenv(terminationEnv)
			os.Exit(p.run(context.Background(), os.Args[1:]))
		},
	})
}

// TestCommands runs the scripts in testdata/script, each with a bucket, a
// volume and a state directory of its own on one MinIO.
func TestCommands(t *testing.T) {
	runScripts(t, "testdata/script", testenv.MinIO(t))
}

// TestOutages runs the scripts that stop their store.
func TestOutages(t *testing.T) {
	scripts, err := filepath.Glob("testdata/outage/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			runScripts(t, script, testenv.MinIO(t))
		})
	}
}

func runScripts(t *testing.T, from string, server *testenv.Server) {
	client := server.Client(t)
	b := &bench{t: t, server: server, client: client}
	params := testscript.Params{
		Setup: b.setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "await": await, "http": httpCommand, "many": many, "term": sendTerm, "logged": logged,
			"put": b.put, "object": b.object, "store": b.store,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	}
	if filepath.Ext(from) == "" {
		params.Dir = from
	} else {
		params.Files = []string{from}
	}
	testscript.Run(t, params)
}

// bench is what scripts work on.
type bench struct {
	t      *testing.T
	server *testenv.Server
	client *minio.Core
}

func (b *bench) setup(e *testscript.Env) error {
	bucket := b.server.NewBucket(b.t, false)
	port, err := freePort()
	if err != nil {
		return err
	}
	set := map[string]string{
		"HOME":                                  filepath.Join(e.WorkDir, "home"),
		"AWS_ACCESS_KEY_ID":                     b.server.AccessKey,
		"AWS_SECRET_ACCESS_KEY":                 b.server.SecretKey,
		"PORT":                                  port,
		"BUCKET":                                bucket,
		"SECRET":                                b.server.SecretKey,
		terminationEnv:                          filepath.Join(e.WorkDir, "termination-log"),
		contract.EnvName(contract.FlagEndpoint): b.server.Endpoint,
		contract.EnvName(contract.FlagBucket):   bucket,
		contract.EnvName(contract.FlagPath):     filepath.Join(e.WorkDir, "volume"),
		contract.EnvName(contract.FlagStateDir): filepath.Join(e.WorkDir, "state"),
		contract.EnvName(contract.FlagMetricsAddress): "0",
	}
	for name, value := range set {
		e.Setenv(name, value)
	}
	return nil
}

// freePort is a port that nobody listened on a moment ago.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), l.Close()
}

// code N PROGRAM ARGS…: the program ends with exit code N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// sendTerm sends SIGTERM to the background command that was started last.
func sendTerm(ts *testscript.TestScript, neg bool, args []string) {
	running := ts.BackgroundCmds()
	if neg || len(args) > 0 || len(running) == 0 {
		ts.Fatalf("usage: term, while a command runs in the background")
	}
	ts.Check(running[len(running)-1].Process.Signal(syscall.SIGTERM))
}

// patience bounds every wait in a script. It is no measure of anything.
const patience = 2 * time.Minute

// await [TEXT]: a syncer runs that an app may use, or whose status as text
// contains TEXT.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: await [text]")
	}
	client := control.NewClient(ts.Getenv(contract.EnvName(contract.FlagStateDir)))
	last := errors.New("nothing was tried")
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		s, err := client.Status(context.Background())
		switch {
		case err != nil:
			last = err
		case len(args) == 0:
			if last = usable(s); last == nil {
				return
			}
		default:
			var text bytes.Buffer
			writeStatus(&text, s)
			if strings.Contains(text.String(), args[0]) {
				return
			}
			last = errors.New(text.String())
		}
	}
	ts.Fatalf("it did not come to that: %v", last)
}

// logged FILE TEXT: a program that runs in the background has written TEXT.
func logged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: logged file text")
	}
	var text []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		// The file may not be there yet.
		if text, _ = os.ReadFile(ts.MkAbs(args[0])); bytes.Contains(text, []byte(args[1])) {
			return
		}
	}
	ts.Fatalf("it did not come to that: %s", text)
}

// http METHOD URL [HEADER:VALUE…]: prints the code and the body.
func httpCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: http METHOD URL [Name:value...]")
	}
	r, err := http.NewRequest(args[0], args[1], nil)
	ts.Check(err)
	for _, header := range args[2:] {
		name, value, _ := strings.Cut(header, ":")
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Set(name, value)
		}
	}
	response, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer func() { _ = response.Body.Close() }()
	fmt.Fprintln(ts.Stdout(), response.StatusCode)
	_, err = io.Copy(ts.Stdout(), response.Body)
	ts.Check(err)
}

// many N FOLDER: makes N files.
func many(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: many N folder")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	folder := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(folder, 0o755))
	for i := range n {
		ts.Check(os.WriteFile(filepath.Join(folder, strconv.Itoa(i)), []byte(strconv.Itoa(i)), 0o644))
	}
}

// put KEY TEXT: another client writes an object.
func (b *bench) put(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: put key text")
	}
	_, err := b.client.Client.PutObject(context.Background(), ts.Getenv("BUCKET"), args[0],
		strings.NewReader(args[1]), int64(len(args[1])), minio.PutObjectOptions{})
	ts.Check(err)
}

// [!] object KEY [TEXT]: the object is there [and holds TEXT], as another
// client sees it.
func (b *bench) object(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: [!] object key [text]")
	}
	o, err := b.client.Client.GetObject(context.Background(), ts.Getenv("BUCKET"), args[0], minio.GetObjectOptions{})
	ts.Check(err)
	defer func() { _ = o.Close() }()
	body, err := io.ReadAll(o)
	switch {
	case neg && minio.ToErrorResponse(err).Code != minio.NoSuchKey:
		ts.Fatalf("object %s: %q, %v", args[0], body, err)
	case !neg:
		ts.Check(err)
		if len(args) == 2 && strings.TrimSuffix(string(body), "\n") != args[1] {
			ts.Fatalf("object %s holds %q", args[0], body)
		}
	}
}

// store stop|start
func (b *bench) store(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case !neg && len(args) == 1 && args[0] == "stop":
		b.server.Stop(b.t)
	case !neg && len(args) == 1 && args[0] == "start":
		b.server.Start(b.t)
	default:
		ts.Fatalf("usage: store stop|start")
	}
}
