package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/control"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// nobody is a user without any rights of his own.
const nobody = 65534

// place is where syncers run as processes, each with a volume and a state
// directory of its own, and whoever they run as can reach them.
type place struct {
	*testing.T
	server *testenv.Server
	bucket string
	dir    string
	binary string
}

func newPlace(t *testing.T, server *testenv.Server) *place {
	t.Helper()
	dir, err := os.MkdirTemp("", "syncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &place{t, server, server.NewBucket(t, false), dir, filepath.Join(dir, "syncer")}
	p.must(os.Chmod(dir, 0o755))
	self, err := os.Executable()
	p.must(err)
	from, err := os.Open(self)
	p.must(err)
	defer from.Close()
	to, err := os.OpenFile(p.binary, os.O_WRONLY|os.O_CREATE, 0o755)
	p.must(err)
	_, err = io.Copy(to, from)
	p.must(err)
	p.must(to.Close())
	return p
}

func (p *place) must(err error) {
	if err != nil {
		p.Helper()
		p.Fatal(err)
	}
}

// process is one syncer, of one pod.
type process struct {
	*place
	uid            uint32
	endpoint       string
	volume, state  string
	log, lastWords string
	running        *exec.Cmd
}

// pod makes a volume and a state directory as the kubelet makes them.
func (p *place) pod(name string, uid uint32) *process {
	p.Helper()
	s := &process{place: p, uid: uid, endpoint: p.server.Endpoint}
	for at, dir := range map[*string]string{&s.volume: "volume", &s.state: "state"} {
		*at = filepath.Join(p.dir, name, dir)
		p.must(os.MkdirAll(*at, 0o755))
		p.must(os.Chmod(*at, 0o777))
	}
	s.log, s.lastWords = filepath.Join(p.dir, name, "log"), filepath.Join(p.dir, name, "termination-log")
	p.must(os.WriteFile(s.lastWords, nil, 0o644))
	p.must(os.Chmod(s.lastWords, 0o666))
	p.Cleanup(func() {
		if s.running != nil {
			_ = s.running.Process.Kill()
			_ = s.running.Wait()
		}
		if p.Failed() {
			text, _ := os.ReadFile(s.log)
			p.Logf("%s has logged:\n%.8000s", name, text)
		}
	})
	return s
}

func (s *process) command(args ...string) *exec.Cmd {
	s.Helper()
	cmd := exec.Command(s.binary, args...)
	env := map[string]string{
		"AWS_ACCESS_KEY_ID": s.server.AccessKey, "AWS_SECRET_ACCESS_KEY": s.server.SecretKey,
		terminationEnv:                          s.lastWords,
		contract.EnvName(contract.FlagEndpoint): s.endpoint, contract.EnvName(contract.FlagBucket): s.bucket,
		contract.EnvName(contract.FlagPath): s.volume, contract.EnvName(contract.FlagStateDir): s.state,
		contract.EnvName(contract.FlagMetricsAddress): "0",
	}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if s.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.uid, Gid: s.uid}
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	s.must(err)
	s.Cleanup(func() { log.Close() })
	cmd.Stdout, cmd.Stderr = log, log
	return cmd
}

// run runs a command to its end and wants this exit code of it.
func (s *process) run(want int, args ...string) {
	s.Helper()
	cmd := s.command(args...)
	_ = cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != want {
		s.Fatalf("syncer %q: exit code %d, want %d", args, got, want)
	}
}

func (s *process) start(args ...string) {
	s.Helper()
	s.running = s.command(append([]string{"sync"}, args...)...)
	s.must(s.running.Start())
	s.await("in use", func(st status.Status) bool { return usable(st) == nil })
}

func (s *process) await(what string, ok func(status.Status) bool) {
	s.Helper()
	client := control.NewClient(s.state)
	var st status.Status
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if st, err = client.Status(context.Background()); err == nil && ok(st) {
			return
		}
	}
	s.Fatalf("never %s: %+v, %v", what, st, err)
}

func (s *process) signal(signal syscall.Signal) { s.Helper(); s.must(s.running.Process.Signal(signal)) }

// end waits for the process and returns its exit code and its last words.
func (s *process) end() (code int, lastWords string) {
	s.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.running.Wait() }()
	select {
	case <-ended:
	case <-time.After(patience):
		_ = s.running.Process.Kill()
		<-ended
		s.Fatal("sync does not end")
	}
	code = s.running.ProcessState.ExitCode()
	s.running = nil
	words, err := os.ReadFile(s.lastWords)
	s.must(err)
	return code, string(words)
}

func (s *process) stop(want int) (lastWords string) {
	s.Helper()
	s.signal(syscall.SIGTERM)
	code, words := s.end()
	if code != want {
		s.Fatalf("exit code %d, want %d: %s", code, want, words)
	}
	return words
}

func (s *process) at(path string) string { return filepath.Join(s.volume, path) }

// make makes a file, or a folder where path ends in "/", with parents.
func (s *process) make(path, content string, mode fs.FileMode, uid int) {
	s.Helper()
	if strings.HasSuffix(path, "/") {
		s.must(os.MkdirAll(s.at(path), 0o755))
	} else {
		s.must(os.WriteFile(s.at(path), []byte(content), 0o600))
	}
	s.must(os.Chown(s.at(path), uid, uid))
	s.must(os.Chmod(s.at(path), mode))
}

// tree describes what is in the volume: mode and content by path.
func (s *process) tree() map[string]string {
	s.Helper()
	found := map[string]string{}
	s.must(filepath.WalkDir(s.volume, func(p string, d fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(p, s.volume+"/")
		if errors.Is(err, fs.ErrNotExist) || p == s.volume {
			return nil // it went while we looked
		}
		if err != nil {
			return err
		}
		if rel+"/" == contract.Reserved {
			return fs.SkipDir
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		found[rel] = info.Mode().String()
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(p)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			found[rel] += fmt.Sprintf(" %q", content)
			return err
		}
		return nil
	}))
	return found
}

// TestRestoreIntoSealedFolders: a folder that even its owner may not enter is
// filled by a restore that is not root's before it is sealed.
func TestRestoreIntoSealedFolders(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it starts processes as another user")
	}
	p := newPlace(t, testenv.MinIO(t))
	a, b := p.pod("a", 0), p.pod("b", nobody)
	for i, path := range []string{"sealed/", "sealed/f", "sealed/sealed/", "sealed/sealed/g", "unsearchable/", "unsearchable/h"} {
		a.make(path, fmt.Sprint(i), 0o755, nobody)
	}
	for path, mode := range map[string]fs.FileMode{"sealed/sealed": 0, "sealed": 0, "unsearchable": 0o600} {
		p.must(os.Chmod(a.at(path), mode))
	}
	a.start()
	a.stop(contract.ExitOK)
	b.run(contract.ExitOK, "restore")
	if diff := cmp.Diff(a.tree(), b.tree()); diff != "" {
		t.Errorf("restored (- want, + got):\n%s", diff)
	}
}

// TestOwnersAndModes: a syncer without any rights brings what it may read into
// the bucket and back, names what it may not and does not end as if that were
// in the bucket, and is not kept from writing by
// folders that are its user's own but shielded.
func TestOwnersAndModes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it starts processes as another user")
	}
	p := newPlace(t, testenv.MinIO(t))
	a, b := p.pod("a", nobody), p.pod("b", nobody)
	for _, f := range []struct {
		path string
		mode fs.FileMode
		uid  int
	}{
		{"secret", 0o600, 0},
		{"closed/", 0o755, 0}, {"closed/inside", 0o644, 0},
		{"plain", 0o644, nobody}, {"readable", 0o444, 0}, {"program", 0o755 | fs.ModeSetuid, nobody}, {"unwritable", 0o400, nobody},
		{"shielded/", 0o755, nobody}, {"shielded/f", 0o444, nobody},
		{"shielded/deeper/", 0o755, nobody}, {"shielded/deeper/g", 0o644, nobody},
		{"quiet/", 0o755, nobody}, {"quiet/h", 0o644, nobody},
	} {
		a.make(f.path, "content of "+f.path, f.mode, f.uid)
	}
	for path, mode := range map[string]fs.FileMode{
		"shielded/deeper": 0o555, "shielded": 0o555, "quiet": 0o500, "closed": 0o700,
	} {
		p.must(os.Chmod(a.at(path), mode))
	}

	missing := func(lastWords string) {
		t.Helper()
		for _, says := range []string{"2 changes are not in the bucket: ", "closed/ (", "secret (permission: "} {
			if !strings.Contains(lastWords, says) {
				t.Errorf("last words without %q: %s", says, lastWords)
			}
		}
	}
	a.start()
	a.run(contract.ExitFailure, "flush")
	var out bytes.Buffer
	cmd := a.command("status", "-o", "json")
	cmd.Stdout = &out
	p.must(cmd.Run())
	var st status.Status
	p.must(json.Unmarshal(out.Bytes(), &st))
	unsyncable := map[string]bool{}
	for _, u := range st.UnsyncablePaths {
		unsyncable[u.Path] = strings.Contains(u.Reason, "permission denied")
	}
	if diff := cmp.Diff(map[string]bool{"secret": true, "closed/": true}, unsyncable); diff != "" {
		t.Errorf("unsyncable for want of rights (- want, + got):\n%s", diff)
	}
	missing(a.stop(contract.ExitFailure))

	b.run(contract.ExitOK, "restore")
	want := a.tree()
	for _, path := range []string{"secret", "closed", "closed/inside"} {
		delete(want, path)
	}
	if diff := cmp.Diff(want, b.tree()); diff != "" {
		t.Errorf("restored (- want, + got):\n%s", diff)
	}

	// Changes in shielded folders: here by their owner, there by the syncer.
	a.start()
	b.start()
	p.must(os.WriteFile(a.at("shielded/f"), []byte("changed"), 0o444))
	p.must(os.Remove(a.at("shielded/deeper/g")))
	a.make("shielded/deeper/new", "new", 0o644, nobody)
	a.run(contract.ExitFailure, "flush")
	want["shielded/f"] = `-r--r--r-- "changed"`
	want["shielded/deeper/new"] = `-rw-r--r-- "new"`
	delete(want, "shielded/deeper/g")
	b.await("pulled", func(status.Status) bool { return cmp.Equal(want, b.tree()) })
	missing(a.stop(contract.ExitFailure))
	b.stop(contract.ExitOK)
	if diff := cmp.Diff(want, b.tree()); diff != "" {
		t.Errorf("pulled (- want, + got):\n%s", diff)
	}
}
