package main

import (
	"bytes"
	"crypto/md5" // the ETag of an object that was put at once
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// pod is a volume and what the syncer remembers of it, as its containers see it.
type pod struct {
	t                *testing.T
	server           *testenv.Server
	endpoint, bucket string
	volume, state    string
	termination, log string
	command          *exec.Cmd
}

func newPod(t *testing.T, server *testenv.Server, endpoint string) *pod {
	dir := t.TempDir()
	p := &pod{
		t: t, server: server, endpoint: endpoint, bucket: server.NewBucket(t, false),
		volume: filepath.Join(dir, "volume"), state: filepath.Join(dir, "state"),
		termination: filepath.Join(dir, "termination-log"), log: filepath.Join(dir, "log"),
	}
	p.do(os.Mkdir(p.volume, 0o755))
	t.Cleanup(func() {
		if p.command != nil {
			p.do(p.command.Process.Kill())
			_ = p.command.Wait()
		}
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("the syncer's last words:\n%s", text[max(0, len(text)-4<<10):])
		}
	})
	return p
}

func (p *pod) do(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pod) run(args ...string) *exec.Cmd {
	p.t.Helper()
	log, err := os.Create(p.log)
	p.do(err)
	p.t.Cleanup(func() { _ = log.Close() })
	p.do(os.WriteFile(p.termination, nil, 0o600)) // as the kubelet does
	c := exec.Command("syncer", args...)
	c.Env = append(os.Environ(),
		"AWS_ACCESS_KEY_ID="+p.server.AccessKey, "AWS_SECRET_ACCESS_KEY="+p.server.SecretKey, terminationEnv+"="+p.termination,
		contract.EnvName(contract.FlagEndpoint)+"="+p.endpoint, contract.EnvName(contract.FlagBucket)+"="+p.bucket,
		contract.EnvName(contract.FlagPath)+"="+p.volume, contract.EnvName(contract.FlagStateDir)+"="+p.state)
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// sync starts one and waits until it is in step.
func (p *pod) sync(flags ...string) {
	p.t.Helper()
	p.command = p.run(append([]string{"sync", "--metrics-address=0"}, flags...)...)
	p.do(p.command.Start())
	p.await("in step", func() bool {
		if text := p.logged(); strings.Contains(text, `"msg":"failed"`) {
			p.t.Fatal(text)
		}
		return strings.Contains(p.logged(), "are in step")
	})
}

func (p *pod) logged() string {
	text, err := os.ReadFile(p.log)
	p.do(err)
	return string(text)
}

func (p *pod) await(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("never %s", what)
		}
	}
}

// stop sends the signal and returns the exit code and the last words.
func (p *pod) stop(signal syscall.Signal) (code int, last string) {
	p.t.Helper()
	p.do(p.command.Process.Signal(signal))
	err := p.command.Wait()
	code = p.command.ProcessState.ExitCode()
	p.command = nil
	if _, exited := errors.AsType[*exec.ExitError](err); !exited {
		p.do(err)
	}
	text, err := os.ReadFile(p.termination)
	p.do(err)
	return code, string(text)
}

// mustStop ends it as Kubernetes does, and it has nothing to say.
func (p *pod) mustStop() {
	p.t.Helper()
	if code, last := p.stop(syscall.SIGTERM); code != contract.ExitOK || last != "" {
		p.t.Fatalf("exit code %d: %s", code, last)
	}
}

// verify has another process compare volume and bucket.
func (p *pod) verify() {
	p.t.Helper()
	if err := p.run("verify").Run(); err != nil {
		p.t.Errorf("verify: %v\n%s", err, p.logged())
	}
}

// unfinished counts the uploads in parts that the bucket has.
func (p *pod) unfinished() (n int) {
	p.t.Helper()
	for u := range p.server.Client(p.t).Client.ListIncompleteUploads(p.t.Context(), p.bucket, "", true) {
		p.do(u.Err)
		n++
	}
	return n
}

// TestStopInBurst: what the app had written when the signal came is in the
// bucket when the syncer has ended well, though the app goes on writing; with
// time for quiet, so is the rest. Each round from a seed of its own.
func TestStopInBurst(t *testing.T) {
	server := testenv.MinIO(t)
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(20261124, seed))
			quiet := seed%2 == 1
			p := newPod(t, server, server.Endpoint)
			if quiet {
				p.sync("--shutdown-quiet=500ms")
			} else {
				p.sync()
			}
			var written atomic.Int64
			var app sync.WaitGroup
			enough := make(chan struct{})
			app.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-enough:
						return
					default:
					}
					if err := burst(p.volume, i); err != nil {
						t.Error(err)
						return
					}
					written.Add(1)
				}
			})
			time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
			before := int(written.Load())
			time.AfterFunc(50*time.Millisecond, func() { close(enough) })
			p.mustStop()
			app.Wait()
			if quiet {
				p.verify()
			}
			has := map[string]string{}
			for o := range p.server.Client(t).Client.ListObjects(t.Context(), p.bucket, minio.ListObjectsOptions{Recursive: true}) {
				p.do(o.Err)
				has[o.Key] = o.ETag
			}
			for i := range before {
				name, content := burstFile(i)
				sum := md5.Sum([]byte(content))
				if has[name] != hex.EncodeToString(sum[:]) {
					t.Fatalf("%s, number %d of %d that were written before the signal, has ETag %q", name, i, before, has[name])
				}
			}
			t.Logf("%d files before the signal, %d in all", before, written.Load())
		})
	}
}

func burstFile(i int) (name, content string) {
	return fmt.Sprintf("d%d/e%d/%d", i%7, i%5, i), strings.Repeat(fmt.Sprintln(i), 1+i%300)
}

// burst makes file i, in one of three ways.
func burst(volume string, i int) error {
	name, content := burstFile(i)
	name = filepath.Join(volume, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch i % 3 {
	case 0:
		return os.WriteFile(name, []byte(content), 0o644)
	case 1:
		return errors.Join(os.WriteFile(name+".tmp", []byte(content), 0o644), os.Rename(name+".tmp", name))
	default:
		return errors.Join(os.WriteFile(name, []byte("an earlier one"), 0o644), os.WriteFile(name, []byte(content), 0o644))
	}
}

// large is a file that goes in parts.
const large = "deep/large.bin"

// largeOnItsWay starts a sync that is in the middle of the upload of the large
// file.
func largeOnItsWay(t *testing.T, server *testenv.Server, flags ...string) (p *pod, path *testenv.FaultyPath) {
	t.Helper()
	path = server.Faulty(t)
	p = newPod(t, server, path.Endpoint)
	p.sync(append(flags, "--log-level=debug")...)
	p.do(os.Mkdir(filepath.Join(p.volume, "deep"), 0o755))
	p.do(os.WriteFile(filepath.Join(p.volume, large), bytes.Repeat([]byte("0123456789abcdef"), 40<<20/16), 0o644))
	// Not before it is written down: an upload whose very first answer is
	// lost nobody can abort, since only that answer names it.
	p.await("on its way", func() bool { return strings.Contains(p.logged(), "began an upload in parts") })
	if n := p.unfinished(); n != 1 {
		t.Fatalf("%d unfinished uploads", n)
	}
	return p, path
}

// TestStopInLargeUpload: a signal comes while the parts of a file travel, on a
// slow line, with time enough and without, or when the store is gone; and a
// kill. None of it leaves parts behind for good.
func TestStopInLargeUpload(t *testing.T) {
	server := testenv.MinIO(t)
	const slow = "--bandwidth-limit=64Ki"
	begin := func(t *testing.T, flags ...string) (p *pod, path *testenv.FaultyPath) {
		t.Parallel()
		return largeOnItsWay(t, server, flags...)
	}
	absent := func(p *pod) {
		p.t.Helper()
		_, err := server.Client(p.t).Client.StatObject(p.t.Context(), p.bucket, large, minio.StatObjectOptions{})
		if minio.ToErrorResponse(err).Code != minio.NoSuchKey {
			p.t.Errorf("the object is there, or may be: %v", err)
		}
	}
	// goesOn starts it again on a good line, and all comes right.
	goesOn := func(p *pod) {
		p.t.Helper()
		p.sync()
		p.mustStop()
		p.verify()
		if n := p.unfinished(); n != 0 {
			p.t.Errorf("%d unfinished uploads are left after the next start", n)
		}
	}
	t.Run("time enough", func(t *testing.T) {
		p, _ := begin(t, "--bandwidth-limit=10Mi", "--flush-timeout=10m")
		p.mustStop()
		p.verify()
		if n := p.unfinished(); n != 0 {
			t.Errorf("%d unfinished uploads are left", n)
		}
	})
	t.Run("too short", func(t *testing.T) {
		p, _ := begin(t, slow, "--flush-timeout=1s")
		code, last := p.stop(syscall.SIGTERM)
		for where, text := range map[string]string{"termination message": last, "log": p.logged()} {
			if !strings.Contains(text, large) || !strings.Contains(text, "flush-timeout 1s is over") {
				t.Errorf("%s: %s", where, text)
			}
		}
		if code != contract.ExitFailure {
			t.Errorf("exit code %d", code)
		}
		if n := p.unfinished(); n != 0 {
			t.Errorf("%d unfinished uploads are left", n)
		}
		absent(p)
		goesOn(p)
	})
	t.Run("unreachable", func(t *testing.T) {
		p, path := begin(t, slow, "--flush-timeout=5s")
		path.Cut()
		code, last := p.stop(syscall.SIGTERM)
		if code != contract.ExitUnreachable || !strings.Contains(last, large) || !strings.Contains(p.logged(), large) {
			t.Errorf("exit code %d: %s", code, last)
		}
		if n := p.unfinished(); n != 1 {
			t.Fatalf("%d unfinished uploads are left, though nobody could abort them", n)
		}
		absent(p)
		path.Mend(t)
		goesOn(p)
	})
	t.Run("killed", func(t *testing.T) {
		p, _ := begin(t, slow)
		if code, last := p.stop(syscall.SIGKILL); code != -1 || last != "" {
			t.Errorf("exit code %d: %s", code, last)
		}
		if n := p.unfinished(); n != 1 {
			t.Fatalf("%d unfinished uploads are left, though nobody aborted them", n)
		}
		absent(p)
		goesOn(p)
	})
}

// TestStopWithMuchPending: with the store gone, the end says how many changes
// are not in the bucket, names some of them, and says why, within what
// Kubernetes keeps of it.
func TestStopWithMuchPending(t *testing.T) {
	server := testenv.MinIO(t)
	for name, c := range map[string]struct {
		files int
		name  string // the beginning of each
		named int    // of them, at least
		says  string
	}{
		"few":             {3, "f", 3, "3 changes are not in the bucket: "},
		"more than named": {45, "f", 10, "45 changes are not in the bucket: "},
		"many":            {1500, "f", 10, "1500 changes are not in the bucket: "},
		"with long names": {1500, strings.Repeat("long ", 46), 2, "1500 changes are not in the bucket: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := server.Faulty(t)
			p := newPod(t, server, path.Endpoint)
			p.sync("--flush-timeout=2s")
			path.Cut()
			for i := range c.files {
				p.do(os.WriteFile(filepath.Join(p.volume, fmt.Sprint(c.name, i)), []byte("x"), 0o644))
			}
			code, last := p.stop(syscall.SIGTERM)
			if code != contract.ExitUnreachable {
				t.Errorf("exit code %d", code)
			}
			if len(last) > maxTermination || !strings.HasPrefix(last, c.says) {
				t.Errorf("%d bytes: %s", len(last), last)
			}
			for _, part := range []string{"flush-timeout 2s is over", "check the endpoint", " (exit code 5)"} {
				if !strings.Contains(last, part) {
					t.Errorf("it does not say %q: %s", part, last)
				}
			}
			named := 0
			for i := range c.files {
				if strings.Contains(last, " "+fmt.Sprint(c.name, i)+" (") {
					named++
				}
			}
			if more := fmt.Sprintf(" and %d more", c.files-named); named < c.named || strings.Contains(last, more) != (named < c.files) {
				t.Errorf("%d are named: %s", named, last)
			}
			if !strings.Contains(p.logged(), c.says) {
				t.Error("the log does not say it")
			}
		})
	}
}

// TestStopWhileStarting: a signal that comes before the syncer has begun its
// work is the order to an end in which all gets into the bucket, as ever.
func TestStopWhileStarting(t *testing.T) {
	server := testenv.MinIO(t)
	p := newPod(t, server, server.Endpoint)
	p.do(os.WriteFile(filepath.Join(p.volume, "f"), []byte("x"), 0o644))
	p.do(os.Mkdir(p.state, 0o700))
	lock, err := os.Create(filepath.Join(p.state, "base.lock")) // it waits for this
	p.do(err)
	defer lock.Close()
	p.do(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	p.command = p.run("sync", "--metrics-address=0")
	p.do(p.command.Start())
	p.await("waiting for its base", func() bool {
		open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.command.Process.Pid))
		p.do(err)
		for _, fd := range open {
			if file, err := os.Readlink(fd); err == nil && file == lock.Name() {
				return true
			}
		}
		return false
	})
	p.do(p.command.Process.Signal(syscall.SIGTERM))
	p.do(lock.Close())
	_ = p.command.Wait()
	if code := p.command.ProcessState.ExitCode(); code != contract.ExitOK {
		t.Errorf("exit code %d", code)
	}
	p.command = nil
	p.verify()
}
