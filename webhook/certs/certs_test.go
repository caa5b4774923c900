package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a new certificate and its key, good until expires.
func pair(t *testing.T, expires time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: expires}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// secrets is an API server with one Secret; nil: none.
type secrets struct {
	client.Reader
	data map[string][]byte
}

func (s secrets) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if s.data == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
	}
	into.(*corev1.Secret).Data = s.data
	return nil
}

func TestMirror(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "itself")
	name := types.NamespacedName{Namespace: "n", Name: "s"}
	reconcileWith := func(data map[string][]byte) error {
		m := &Mirror{Secret: name, Dir: dir, Reader: secrets{data: data}}
		_, err := m.Reconcile(t.Context(), reconcile.Request{NamespacedName: name})
		return err
	}
	for what, data := range map[string]map[string][]byte{
		"no Secret": nil, "an empty Secret": {}, "half a Secret": {CertFile: []byte("x")},
	} {
		if err := reconcileWith(data); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: something was written", what)
		}
	}
	for round := range 3 {
		cert, key := pair(t, time.Now().Add(time.Hour))
		data := map[string][]byte{CertFile: cert, KeyFile: key, "ca.key": []byte("stays away")}
		for range 2 { // the second time there is nothing to do
			if err := reconcileWith(data); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tls.LoadX509KeyPair(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile)); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, CertFile)); err != nil || !slices.Equal(got, cert) {
			t.Errorf("round %d: certificate is another one, error %v", round, err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 4 { // one folder, the link to it, and two links through that
			t.Errorf("round %d: left %v, error %v", round, entries, err)
		}
	}
	// What is served stays when the Secret is emptied.
	if err := reconcileWith(map[string][]byte{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(filepath.Join(dir, CertFile)); err != nil {
		t.Error(err)
	}
	// Another Secret is none of its business.
	m := &Mirror{Secret: name, Dir: dir, Reader: secrets{}}
	if _, err := m.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "other"}}); err != nil {
		t.Error(err)
	}
}

func TestMirrorSaysWhatItCouldNotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := pair(t, time.Now().Add(time.Hour))
	name := types.NamespacedName{Namespace: "n", Name: "s"}
	m := &Mirror{Secret: name, Dir: file, Reader: secrets{data: map[string][]byte{CertFile: cert, KeyFile: key}}}
	if _, err := m.Reconcile(t.Context(), reconcile.Request{NamespacedName: name}); err == nil {
		t.Error("a file was taken for a folder")
	}
}

func TestSourceFollowsTheFolder(t *testing.T) {
	dir := t.TempDir()
	expiries := make(chan time.Time, 8)
	s := NewSource(dir, func(at time.Time) { expiries <- at }, logr.Discard())
	if err := s.Ready(nil); err == nil {
		t.Error("ready without a certificate")
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()

	var served []string
	for round := range 3 {
		expires := time.Now().Add(time.Duration(round+1) * time.Hour).Truncate(time.Second).UTC()
		cert, key := pair(t, expires)
		if err := lay(dir, map[string][]byte{CertFile: cert, KeyFile: key}); err != nil {
			t.Fatal(err)
		}
		if got := <-expiries; !got.Equal(expires) {
			t.Errorf("round %d: expires %s, want %s", round, got, expires)
		}
		if err := s.Ready(nil); err != nil {
			t.Error(err)
		}
		c, err := s.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		serial := c.Leaf.SerialNumber.String()
		if slices.Contains(served, serial) {
			t.Errorf("round %d: still serves an old certificate", round)
		}
		served = append(served, serial)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSourceEndsWhileItWaits(t *testing.T) {
	s := NewSource(t.TempDir(), func(time.Time) {}, logr.Discard())
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Start(ctx); err != nil {
		t.Error(err)
	}
}
