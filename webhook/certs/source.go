// Package certs serves the certificate that lies in a directory, and fills the
// directory from a Secret where nobody else does.
//
// There is one way in: files. With cert-manager the kubelet lays them down from
// the Secret that it mounts; without, [Mirror] lays them down in the same
// manner the moment the Secret changes (the kubelet may take a minute or two,
// which a first install would have to wait for).
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// Names of the files, which are also keys of the Secret.
const (
	CertFile = "tls.crt"
	KeyFile  = "tls.key"
)

// lookEvery is how often the directory is looked at until it has a certificate.
const lookEvery = 200 * time.Millisecond

// Source holds the certificate of a directory, which may come late and change.
type Source struct {
	dir     string
	expires func(time.Time)
	log     logr.Logger
	current atomic.Pointer[tls.Certificate]
}

// NewSource serves from dir. Each time a certificate is taken up, expires is
// told how long it is good for.
func NewSource(dir string, expires func(time.Time), log logr.Logger) *Source {
	return &Source{dir: dir, expires: expires, log: log}
}

var errNone = errors.New("there is no certificate yet")

// GetCertificate is for [tls.Config].
func (s *Source) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := s.current.Load(); c != nil {
		return c, nil
	}
	return nil, errNone
}

// Ready is a readiness check.
func (s *Source) Ready(*http.Request) error {
	_, err := s.GetCertificate(nil)
	return err
}

// NeedLeaderElection implements the manager's LeaderElectionRunnable.
func (s *Source) NeedLeaderElection() bool { return false }

// Start waits for a first certificate and then follows the directory until ctx
// ends. It implements the manager's Runnable.
func (s *Source) Start(ctx context.Context) error {
	var watcher *certwatcher.CertWatcher
	for watcher == nil {
		var err error
		watcher, err = certwatcher.New(filepath.Join(s.dir, CertFile), filepath.Join(s.dir, KeyFile))
		if err == nil {
			break
		}
		s.log.V(1).Info("waiting for a certificate", "dir", s.dir, "reason", err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
	}
	watcher.RegisterCallback(s.use)
	return watcher.Start(ctx)
}

func (s *Source) use(c tls.Certificate) {
	leaf := c.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			s.log.Error(err, "reading the certificate", "dir", s.dir)
			return
		}
	}
	s.current.Store(&c)
	s.expires(leaf.NotAfter)
	s.log.Info("certificate taken up", "serial", leaf.SerialNumber.String(), "expires", leaf.NotAfter)
}
