// Command demo shows what minio-sidecar does, on this machine alone: what the
// webhook adds to a Deployment, and then, with a real MinIO on a loopback
// address and a folder for each node, how the files of a pod follow it. It
// exits non-zero if anything is not as promised, and leaves nothing behind.
//
//	make demo
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/minio-sidecar/minio-sidecar/hack/internal/loopback"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	t := newTeller(os.Stdout)
	err := play(ctx, t)
	switch {
	case err == nil:
		return
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "\nInterrupted; everything is cleaned up.")
	default:
		fmt.Fprintf(os.Stderr, "\n%s %v\n", t.paint(red, "✘ Not as promised:"), err)
	}
	stop()
	os.Exit(1)
}

// play tells the story in order. Each chapter checks what it says.
func play(ctx context.Context, t *teller) (err error) {
	root, err := loopback.Root()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "minio-sidecar-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	minio, err := loopback.Tool(root, "minio")
	if err != nil {
		return err
	}
	t.began = time.Now()

	if err := inject(t, filepath.Join(root, "docs/examples/deployment.yaml")); err != nil {
		return err
	}

	t.chapter("2. A store, and a first node")
	s := &stage{teller: t, dir: dir, syncer: filepath.Join(root, "bin/syncer"), keys: filepath.Join(dir, "keys")}
	began := time.Now()
	if s.store, err = loopback.StartMinIO(dir, minio); err != nil {
		return err
	}
	defer s.store.Kill()
	if err := s.writeKeys(); err != nil {
		return err
	}
	t.kept(time.Since(began), "MinIO runs at %s", s.store.Endpoint)

	a, err := s.newNode("node-a")
	if err != nil {
		return err
	}
	defer a.close()
	b, err := s.newNode("node-b")
	if err != nil {
		return err
	}
	defer b.close()
	c, err := s.newNode("node-c")
	if err != nil {
		return err
	}
	defer c.close()

	for _, scene := range []func() error{
		func() error { return work(ctx, a) },
		func() error { return move(ctx, a, b) },
		func() error { return edit(ctx, b) },
		func() error { return crash(ctx, b, c) },
	} {
		if err := scene(); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
	t.chapter("All as promised, in %.1f seconds.", time.Since(t.began).Seconds())
	t.say("On a cluster: README.md, \"Install\". On two Kubernetes nodes on this machine: make e2e.")
	return nil
}

func (s *stage) writeKeys() error {
	if err := os.Mkdir(s.keys, 0o700); err != nil {
		return err
	}
	for name, key := range map[string]string{
		contract.AccessKeyFile: s.store.AccessKey,
		contract.SecretKeyFile: s.store.SecretKey,
	} {
		if err := os.WriteFile(filepath.Join(s.keys, name), []byte(key), 0o600); err != nil {
			return err
		}
	}
	return nil
}
