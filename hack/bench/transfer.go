package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// bench is one run of everything.
type bench struct {
	settings
	root    string // top of the checkout
	dir     string
	mc      *mc // also does what no client is measured by: buckets and counts
	clients []client
	results results
	limits  results // rates, which are better the larger they are
	buckets int
}

// newBucket creates an empty bucket.
func (b *bench) newBucket(ctx context.Context) (string, error) {
	b.buckets++
	name := fmt.Sprintf("bench-%04d", b.buckets)
	return name, b.admin(ctx, "mb", "bench/"+name)
}

func (b *bench) admin(ctx context.Context, args ...string) error {
	command := exec.CommandContext(ctx, b.mc.binary, append([]string{"--quiet"}, args...)...)
	command.Env = b.mc.env
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("mc %v: %w\n%s", args, err, out)
	}
	return nil
}

// inRandomOrder visits the clients in an order that differs from round to
// round, so that none always runs after the same other.
func inRandomOrder[C client](clients []C, visit func(C) error) error {
	for _, i := range rand.Perm(len(clients)) {
		if err := visit(clients[i]); err != nil {
			return fmt.Errorf("%s: %w", clients[i].Name(), err)
		}
	}
	return nil
}

// transfers measures uploading and downloading one set of files. The files
// were just written, and are compared after each run, so that all clients find
// them in the page cache. What earlier runs left to be written to the disk is
// written before the clock starts.
func (b *bench) transfers(ctx context.Context, name string, count int, size int64) error {
	source := filepath.Join(b.dir, "source")
	defer os.RemoveAll(source)
	if err := fill(source, count, size); err != nil {
		return err
	}
	want, err := measureDir(source)
	if err != nil {
		return err
	}

	kept := "" // the bucket that all downloads are taken from
	for range b.runs {
		err := inRandomOrder(b.clients, func(c client) error {
			bucket, err := b.newBucket(ctx)
			if err != nil {
				return err
			}
			// A copy, since a sidecar keeps a folder of its own in its volume.
			dir := filepath.Join(b.dir, "upload")
			defer os.RemoveAll(dir)
			if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
				return err
			}
			syscall.Sync()
			took, err := c.Upload(ctx, dir, bucket)
			if err != nil {
				return err
			}
			if got, err := b.mc.measureBucket(ctx, bucket); err != nil {
				return err
			} else if got != want {
				return fmt.Errorf("%d objects of %d bytes are in the bucket, not %d of %d", got.files, got.bytes, want.files, want.bytes)
			}
			b.record("Upload "+name, c, took)
			if kept == "" && c == b.clients[0] {
				kept = bucket
				return nil
			}
			return b.admin(ctx, "rb", "--force", "bench/"+bucket)
		})
		if err != nil {
			return err
		}
	}

	for range b.runs {
		err := inRandomOrder(b.clients, func(c client) error {
			dir := filepath.Join(b.dir, "download")
			defer os.RemoveAll(dir)
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			syscall.Sync()
			took, err := c.Download(ctx, kept, dir)
			if err != nil {
				return err
			}
			if err := sameFiles(source, dir); err != nil {
				return err
			}
			b.record("Restore "+name, c, took)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return b.admin(ctx, "rb", "--force", "bench/"+kept)
}

func (b *bench) record(task string, c client, took time.Duration) {
	b.say("%-28s %-14s %8.3f s", task, c.Name(), took.Seconds())
	b.results.add(task, "s", c.Name(), took.Seconds())
}
