package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/minio-sidecar/minio-sidecar/hack/internal/loopback"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// client is one of the programs that are compared.
type client interface {
	Name() string
	Binary() string
	// Upload brings all files of dir into the bucket; Download all objects of
	// the bucket into dir. Both return how long that took.
	Upload(ctx context.Context, dir, bucket string) (time.Duration, error)
	Download(ctx context.Context, bucket, dir string) (time.Duration, error)
}

// watcher is a client that can stay and upload what changes.
type watcher interface {
	client
	// Watch brings the two together, whichever has the files, and returns
	// the process that keeps uploading what changes.
	Watch(ctx context.Context, dir, bucket string) (*loopback.Process, error)
}

// timed runs a program to its end.
func timed(ctx context.Context, env []string, binary string, args ...string) (time.Duration, error) {
	command := exec.CommandContext(ctx, binary, args...)
	command.Env = env
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	began := time.Now()
	err := command.Run()
	took := time.Since(began)
	if err != nil {
		text := said.Bytes()
		return 0, fmt.Errorf("%s %v: %w\n%s", filepath.Base(binary), args, err, text[max(0, len(text)-2000):])
	}
	return took, nil
}

// peer is a client whose two directions are one command each.
type peer struct {
	name, binary string
	env          []string
	upload       func(dir, bucket string) []string
	download     func(bucket, dir string) []string
}

func (p *peer) Name() string   { return p.name }
func (p *peer) Binary() string { return p.binary }

func (p *peer) Upload(ctx context.Context, dir, bucket string) (time.Duration, error) {
	return timed(ctx, p.env, p.binary, p.upload(dir, bucket)...)
}

func (p *peer) Download(ctx context.Context, bucket, dir string) (time.Duration, error) {
	return timed(ctx, p.env, p.binary, p.download(bucket, dir)...)
}

// mc is MinIO's own client.
type mc struct {
	peer
	dir string
}

func newMC(binary, dir string, m *loopback.MinIO) *mc {
	c := &mc{dir: dir}
	c.peer = peer{
		name:   "mc",
		binary: binary,
		env: []string{
			"HOME=" + dir,
			"MC_CONFIG_DIR=" + filepath.Join(dir, "mc"),
			"MC_HOST_bench=http://" + m.AccessKey + ":" + m.SecretKey + "@" + m.Endpoint[len("http://"):],
		},
		upload:   func(dir, bucket string) []string { return []string{"--quiet", "mirror", dir, "bench/" + bucket} },
		download: func(bucket, dir string) []string { return []string{"--quiet", "mirror", "bench/" + bucket, dir} },
	}
	return c
}

func (c *mc) Watch(ctx context.Context, dir, bucket string) (*loopback.Process, error) {
	if _, err := c.Download(ctx, bucket, dir); err != nil {
		return nil, err
	}
	p, err := loopback.Start(c.dir, "mc-watch", c.binary, c.env, "--quiet", "mirror", "--watch", dir, "bench/"+bucket)
	if err != nil {
		return nil, err
	}
	if err := c.awaitCount(ctx, dir, bucket); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// awaitCount returns when the bucket has as many objects as dir has files.
func (c *mc) awaitCount(ctx context.Context, dir, bucket string) error {
	want, err := measureDir(dir)
	if err != nil {
		return err
	}
	for {
		got, err := c.measureBucket(ctx, bucket)
		if err == nil && got == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d files are in the bucket: %w", got.files, want.files, ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// newRclone runs rclone with as many transfers as helps it here, and without
// the requests that an empty destination makes unnecessary.
func newRclone(binary, dir string, m *loopback.MinIO) *peer {
	settings := []string{"copy", "--transfers", "64", "--checkers", "64", "--fast-list", "--s3-no-check-bucket", "--s3-no-head"}
	return &peer{
		name:   "rclone",
		binary: binary,
		env: []string{
			"HOME=" + dir,
			"RCLONE_CONFIG=" + filepath.Join(dir, "rclone.conf"),
			"RCLONE_CONFIG_BENCH_TYPE=s3",
			"RCLONE_CONFIG_BENCH_PROVIDER=Minio",
			"RCLONE_CONFIG_BENCH_ENDPOINT=" + m.Endpoint,
			"RCLONE_CONFIG_BENCH_ACCESS_KEY_ID=" + m.AccessKey,
			"RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY=" + m.SecretKey,
		},
		upload: func(dir, bucket string) []string {
			return append(settings[:len(settings):len(settings)], dir, "bench:"+bucket)
		},
		download: func(bucket, dir string) []string {
			return append(settings[:len(settings):len(settings)], "bench:"+bucket, dir)
		},
	}
}

// newS5cmd runs s5cmd as it is: it is made for this.
func newS5cmd(binary, dir string, m *loopback.MinIO) *peer {
	return &peer{
		name:   "s5cmd",
		binary: binary,
		env: []string{
			"HOME=" + dir,
			"S3_ENDPOINT_URL=" + m.Endpoint,
			"AWS_ACCESS_KEY_ID=" + m.AccessKey,
			"AWS_SECRET_ACCESS_KEY=" + m.SecretKey,
			"AWS_REGION=" + contract.DefaultRegion,
		},
		upload: func(dir, bucket string) []string {
			return []string{"--log", "error", "cp", dir + "/", "s3://" + bucket + "/"}
		},
		download: func(bucket, dir string) []string {
			return []string{"--log", "error", "cp", "s3://" + bucket + "/*", dir + "/"}
		},
	}
}

// syncer is this project's.
type syncer struct {
	binary, dir string
	store       *loopback.MinIO
	limit       string // of the bandwidth; empty: none
}

func newSyncer(binary, dir string, m *loopback.MinIO) (*syncer, error) {
	keys := filepath.Join(dir, "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return nil, err
	}
	for name, key := range map[string]string{contract.AccessKeyFile: m.AccessKey, contract.SecretKeyFile: m.SecretKey} {
		if err := os.WriteFile(filepath.Join(keys, name), []byte(key), 0o600); err != nil {
			return nil, err
		}
	}
	return &syncer{binary: binary, dir: dir, store: m}, nil
}

func (s *syncer) Name() string   { return "minio-sidecar" }
func (s *syncer) Binary() string { return s.binary }

// env gives the sidecar an empty memory, as a new pod has.
func (s *syncer) env(bucket, dir string) ([]string, error) {
	metrics, err := loopback.FreeAddress()
	if err != nil {
		return nil, err
	}
	state, err := os.MkdirTemp(s.dir, "state-")
	env := []string{
		"HOME=" + s.dir,
		contract.EnvName(contract.FlagBucket) + "=" + bucket,
		contract.EnvName(contract.FlagEndpoint) + "=" + s.store.Endpoint,
		contract.EnvName(contract.FlagCredentialsDir) + "=" + filepath.Join(s.dir, "keys"),
		contract.EnvName(contract.FlagPath) + "=" + dir,
		contract.EnvName(contract.FlagStateDir) + "=" + state,
		contract.EnvName(contract.FlagFlushTimeout) + "=10m",
		contract.EnvName(contract.FlagMetricsAddress) + "=" + metrics,
	}
	if s.limit != "" {
		env = append(env, contract.EnvName(contract.FlagBandwidthLimit)+"="+s.limit)
	}
	return env, err
}

func (s *syncer) Download(ctx context.Context, bucket, dir string) (time.Duration, error) {
	env, err := s.env(bucket, dir)
	if err != nil {
		return 0, err
	}
	return timed(ctx, env, s.binary, "restore")
}

// Upload is what a pod does that starts with files of its own and an empty
// bucket: restore, sync, and a flush that waits until all is acknowledged. The
// time of all three counts.
func (s *syncer) Upload(ctx context.Context, dir, bucket string) (time.Duration, error) {
	began := time.Now()
	p, err := s.Watch(ctx, dir, bucket)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	return took, p.Stop()
}

func (s *syncer) Watch(ctx context.Context, dir, bucket string) (*loopback.Process, error) {
	env, err := s.env(bucket, dir)
	if err != nil {
		return nil, err
	}
	if _, err := timed(ctx, env, s.binary, "restore"); err != nil {
		return nil, err
	}
	p, err := loopback.Start(s.dir, "syncer-sync", s.binary, env, "sync")
	if err != nil {
		return nil, err
	}
	// Until sync listens, flush has nobody to ask.
	for {
		_, err = timed(ctx, env, s.binary, "flush")
		if err == nil {
			return p, nil
		}
		select {
		case <-p.Done():
			return nil, fmt.Errorf("sync ended: %w\n%s", err, p.Log())
		case <-ctx.Done():
			p.Kill()
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
