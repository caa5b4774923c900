package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/pkg/version"
	"github.com/minio-sidecar/minio-sidecar/syncer"
	"github.com/minio-sidecar/minio-sidecar/syncer/base"
	"github.com/minio-sidecar/minio-sidecar/syncer/control"
	"github.com/minio-sidecar/minio-sidecar/syncer/metrics"
	"github.com/minio-sidecar/minio-sidecar/syncer/progress"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store/s3"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// session is an engine and what it stands on.
type session struct {
	*syncer.Engine
	metrics *metrics.Metrics
	close   func() error
}

// openSession puts an engine together whose base is in baseDir.
func (p *program) openSession(baseDir string) (_ *session, err error) {
	bucket, err := p.openStore()
	if err != nil {
		return nil, err
	}
	volume, err := tree.Open(p.settings.path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, volume.Close())
		}
	}()
	memory, err := base.Open(baseDir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, memory.Close())
		}
	}()
	if memory.PutAside != "" {
		p.log.Warn("the base was damaged; it is put aside, and what is equal will be found equal again", "file", memory.PutAside)
	}
	s, m := p.settings, metrics.New()
	engine, err := syncer.New(syncer.Config{
		Bucket: s.bucket, Endpoint: s.endpoint, Prefix: s.prefix,
		Mode: s.mode, Delete: s.delete, Include: s.include, Exclude: s.exclude, CreateBucket: s.createBucket,
		RestoreAt: s.restoreAt, RestoreTimeout: s.restoreTimeout, FlushTimeout: s.flushTimeout, ScanInterval: s.scanInterval, ShutdownQuiet: s.shutdownQuiet, Concurrency: s.concurrency,
	}, syncer.Deps{Store: bucket, Tree: volume, Base: memory, Log: p.log, Metrics: m})
	if err != nil {
		return nil, err
	}
	return &session{engine, m, func() error { return errors.Join(memory.Close(), volume.Close()) }}, nil
}

// openStore returns the store of the settings; it sends nothing yet.
func (p *program) openStore() (*s3.Store, error) {
	s := p.settings
	cfg := s3.Config{
		Endpoint: s.endpoint, Region: s.region, Bucket: s.bucket, Prefix: s.prefix, CredentialsDir: s.credentialsDir, Concurrency: s.concurrency,
		BandwidthLimit: s.bandwidthLimit, App: "minio-sidecar", Version: version.Get().Version,
	}
	if cfg.CredentialsDir == "" {
		cfg.AccessKey, _ = p.lookupEnv("AWS_ACCESS_KEY_ID")
		cfg.SecretKey, _ = p.lookupEnv("AWS_SECRET_ACCESS_KEY")
		cfg.SessionToken, _ = p.lookupEnv("AWS_SESSION_TOKEN")
		if cfg.AccessKey == "" || cfg.SecretKey == "" {
			return nil, &badSetting{flag: contract.FlagCredentialsDir, missing: true,
				must: "a folder with the files " + contract.AccessKeyFile + " and " + contract.SecretKeyFile +
					", unless AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set"}
		}
	}
	return s3.New(cfg)
}

// operate runs work, which lasts, with everything around it: signals, control
// socket, metrics if metricsAddress is not empty, and progress.
func (p *program) operate(ctx context.Context, metricsAddress string, work func(context.Context, *session, string) error) (err error) {
	p.startLog()
	p.container = true
	// Before all that takes its time, as a large base does: an end that is asked
	// for meanwhile is an orderly one as well.
	var hurried atomic.Pointer[func(why error) error]
	tooEarly := func(why error) error { return fmt.Errorf("nothing has begun: %w", why) }
	hurried.Store(&tooEarly)
	ctx, restoreSignals := interruptible(ctx, func(signal os.Signal) {
		os.Exit(p.report((*hurried.Load())(interrupted{signal})))
	})
	defer restoreSignals()
	if err := p.settings.require(contract.FlagBucket, contract.FlagEndpoint, contract.FlagPath); err != nil {
		return err
	}
	stateDir, err := p.settings.findStateDir(p.userCache)
	if err != nil {
		return err
	}
	if err := p.settings.prepareFolders(stateDir, true); err != nil {
		return err
	}
	s, err := p.openSession(stateDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	p.log.Info("starting", "version", version.Get().Version, "endpoint", p.settings.endpoint, "bucket", p.settings.bucket,
		"prefix", p.settings.prefix, "path", p.settings.path, "stateDir", stateDir, "mode", p.settings.mode)

	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	var around sync.WaitGroup
	stop := sync.OnceFunc(func() { stopServing(); around.Wait() })
	defer stop()
	if err := p.serve(serving, &around, s, stateDir, metricsAddress); err != nil {
		return err
	}
	around.Go(func() { p.showProgress(serving, s.Status) })

	inTheMiddle := func(why error) error {
		stop()
		return abandoned(s.Engine, why)
	}
	hurried.Store(&inTheMiddle)
	return work(ctx, s, stateDir)
}

// serve answers at the control socket and, if it can be had, at the port.
func (p *program) serve(ctx context.Context, around *sync.WaitGroup, s *session, stateDir, address string) error {
	serve := func(l net.Listener, h http.Handler) {
		around.Go(func() {
			if err := control.Serve(ctx, l, h); err != nil {
				p.log.Error("stopped answering", "address", l.Addr().String(), "error", err)
			}
		})
	}
	socket, err := control.Listen(stateDir)
	if err != nil {
		return err
	}
	serve(socket, control.Local(s, explain))
	if address == "" {
		return nil
	}
	port, err := net.Listen("tcp", address)
	if err != nil {
		// Files matter more than numbers about them.
		p.log.Warn("metrics are not served", "address", address, "error", err)
		return nil
	}
	p.log.Debug("serving metrics", "address", port.Addr().String())
	serve(port, control.Network(s, explain, s.metrics.Handler()))
	return nil
}

func (p *program) showProgress(ctx context.Context, read func() status.Status) {
	if p.screen != nil {
		p.screen.Show(ctx, read)
		return
	}
	progress.Log(ctx, p.log, read)
}

// abandoned is the error of work that was told to end at once.
func abandoned(e *syncer.Engine, why error) error {
	if phase := e.Status().Phase; phase == status.Restoring || phase == status.Starting {
		return fmt.Errorf("the restore is not complete: %w", why)
	}
	return e.Unsynced(why)
}

// temporaryDir makes a folder below dir that lasts as long as the process.
func temporaryDir(dir, pattern string) (name string, remove func() error, err error) {
	name, err = os.MkdirTemp(dir, pattern)
	if err != nil {
		return "", nil, fmt.Errorf("make a folder in %s: %w", filepath.Clean(dir), err)
	}
	return name, func() error { return os.RemoveAll(name) }, nil
}
