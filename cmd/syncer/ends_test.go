package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/control"
)

// grace is what Kubernetes gives a pod beyond its flush-timeout if nobody says
// otherwise. After that it kills, and no word is left of what is not synced.
const grace = 30 * time.Second

// endsWithin waits for the process to end by itself, as long as Kubernetes
// would, and returns its exit code and its last words.
func (p *pod) endsWithin(limit time.Duration) (code int, last string) {
	p.t.Helper()
	killed := make(chan struct{})
	process := p.command.Process
	kill := time.AfterFunc(limit, func() { close(killed); _ = process.Kill() })
	err := p.command.Wait()
	kill.Stop()
	code = p.command.ProcessState.ExitCode()
	p.command = nil
	select {
	case <-killed:
		p.t.Fatalf("it did not end within %s, and was killed", limit)
	default:
	}
	if _, exited := errors.AsType[*exec.ExitError](err); !exited {
		p.do(err)
	}
	text, err := os.ReadFile(p.termination)
	p.do(err)
	return code, string(text)
}

// TestStopInBlackHole: the store neither answers nor refuses, with a large file
// and small ones on their way. The syncer ends within what Kubernetes grants,
// and says what is not in the bucket.
func TestStopInBlackHole(t *testing.T) {
	server := testenv.MinIO(t)
	for _, stream := range []string{"upstream", "downstream"} {
		t.Run(stream, func(t *testing.T) {
			t.Parallel()
			const timeout = 2 * time.Second
			p, path := largeOnItsWay(t, server, "--bandwidth-limit=1Mi", "--flush-timeout="+timeout.String())
			cure := path.Poison(t, "timeout", stream, map[string]any{"timeout": 0})
			for i := range 40 {
				p.do(os.WriteFile(filepath.Join(p.volume, fmt.Sprint("small-", i)), []byte("x"), 0o644))
			}
			p.do(p.command.Process.Signal(syscall.SIGTERM))
			code, last := p.endsWithin(timeout + grace)
			if code != contract.ExitUnreachable && code != contract.ExitFailure { // it may not have had the time to find out why
				t.Errorf("exit code %d", code)
			}
			for where, text := range map[string]string{"termination message": last, "log": p.logged()} {
				if !strings.Contains(text, large) || !strings.Contains(text, "changes are not in the bucket: ") {
					t.Errorf("%s: %s", where, text)
				}
			}
			cure()
			p.sync()
			p.mustStop()
			p.verify()
		})
	}
}

// TestSecondSignalInLargeUpload: who does not want to wait for the last flush
// is obeyed at once, and told what is not in the bucket; the next start
// brings it there, and tidies up.
func TestSecondSignalInLargeUpload(t *testing.T) {
	t.Parallel()
	server := testenv.MinIO(t)
	p, _ := largeOnItsWay(t, server, "--bandwidth-limit=64Ki", "--flush-timeout=1h")
	deep := strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 200)+"/", 6), "/")
	p.do(os.MkdirAll(filepath.Join(p.volume, deep), 0o755))
	p.do(os.WriteFile(filepath.Join(p.volume, deep, "too long for a key"), []byte("x"), 0o644))
	p.await("told", func() bool {
		s, err := control.NewClient(p.state).Status(t.Context())
		return err == nil && s.Unsyncable == 1 && s.Pending == 1
	})
	p.do(p.command.Process.Signal(syscall.SIGTERM))
	p.await("flushing", func() bool { return strings.Contains(p.logged(), "stopping: flushing what is left") })
	p.do(p.command.Process.Signal(syscall.SIGTERM))
	code, last := p.endsWithin(grace)
	if !strings.Contains(last, "2 changes are not in the bucket: ") { // one of them is too long to be named
		t.Errorf("what cannot be synced is left out: %s", last)
	}
	if code != contract.ExitFailure || !strings.Contains(last, large) || !strings.Contains(last, "stopped by signal: terminated") {
		t.Errorf("exit code %d: %s", code, last)
	}
	_, err := server.Client(t).Client.StatObject(t.Context(), p.bucket, large, minio.StatObjectOptions{})
	if minio.ToErrorResponse(err).Code != minio.NoSuchKey {
		t.Errorf("the object is there, or may be: %v", err)
	}
	p.do(os.RemoveAll(filepath.Join(p.volume, deep[:200])))
	p.sync()
	p.mustStop()
	p.verify()
	if n := p.unfinished(); n != 0 {
		t.Errorf("%d unfinished uploads are left after the next start", n)
	}
}

// TestSyncAfterKilledRestore: the restore is killed half-way, and a sync is
// started on what there is. It takes nothing for deleted, and brings the rest.
func TestSyncAfterKilledRestore(t *testing.T) {
	const files, size = 60, 16 << 10
	server := testenv.MinIO(t)
	from := newPod(t, server, server.Endpoint)
	for i := range files {
		from.do(os.WriteFile(filepath.Join(from.volume, fmt.Sprint("f", i)), bytes.Repeat([]byte{byte(i)}, size), 0o644))
	}
	from.sync()
	from.mustStop()

	to := newPod(t, server, server.Endpoint)
	to.bucket = from.bucket
	restored := func() int {
		found, err := filepath.Glob(filepath.Join(to.volume, "f*"))
		to.do(err)
		return len(found)
	}
	to.command = to.run("restore", "--bandwidth-limit=128Ki", "--concurrency=4")
	to.do(to.command.Start())
	to.await("half restored", func() bool { return restored() >= files/4 })
	if code, last := to.stop(syscall.SIGKILL); code != -1 || last != "" {
		t.Fatalf("it ended with code %d before it was killed: %s", code, last)
	}
	if n := restored(); n >= files {
		t.Fatalf("all %d files were restored before the kill", n)
	}

	to.do(os.WriteFile(filepath.Join(to.volume, "new"), []byte("written too early"), 0o644))
	to.sync()
	to.mustStop()
	if n := restored(); n != files {
		t.Errorf("the volume has %d of %d files", n, files)
	}
	objects := 0
	for o := range server.Client(t).Client.ListObjects(t.Context(), to.bucket, minio.ListObjectsOptions{Prefix: "f", Recursive: true}) {
		to.do(o.Err)
		objects++
	}
	if objects != files {
		t.Errorf("the bucket has %d of %d files", objects, files)
	}
	to.verify()
}

// TestBandwidthOfUploads: what a sync sends stays below the limit at all times,
// whatever there is to send: at no moment has the bucket more than the limit
// allows since the beginning. (That it is not much less `make bench` shows: a
// test cannot, on a machine that may be busy with something else.)
func TestBandwidthOfUploads(t *testing.T) {
	t.Parallel()                                      // it waits for the line
	const files, size, limit = 24, 16 << 10, 64 << 10 // six seconds
	server := testenv.MinIO(t)
	p := newPod(t, server, server.Endpoint)
	p.sync(fmt.Sprintf("--bandwidth-limit=%d", limit))
	began := time.Now()
	for i := range files {
		p.do(os.WriteFile(filepath.Join(p.volume, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, size), 0o644))
	}
	inBucket := func() (sum int64) {
		for o := range server.Client(t).Client.ListObjects(t.Context(), p.bucket, minio.ListObjectsOptions{Recursive: true}) {
			p.do(o.Err)
			if !strings.HasPrefix(o.Key, contract.Reserved) {
				sum += o.Size
			}
		}
		return sum
	}
	looks := 0
	p.await("all in the bucket", func() bool {
		sum := inBucket()
		if most := limit * time.Since(began).Seconds() * 1.1; float64(sum) > most {
			t.Fatalf("%d bytes are in the bucket where the limit allows %.0f", sum, most)
		}
		looks++
		return sum == files*size
	})
	t.Logf("%d looks in %s", looks, time.Since(began))
	p.mustStop()
	p.verify()
}
