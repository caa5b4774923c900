package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Mirror lays a Secret's certificate down as files. It is a reconciler of that
// Secret, so that a write which fails is tried again.
type Mirror struct {
	Secret types.NamespacedName
	Dir    string
	Reader client.Reader
}

// Reconcile implements [reconcile.Reconciler].
func (m *Mirror) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if req.NamespacedName != m.Secret {
		return reconcile.Result{}, nil
	}
	var secret corev1.Secret
	if err := m.Reader.Get(ctx, m.Secret, &secret); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	cert, key := secret.Data[CertFile], secret.Data[KeyFile]
	// A Secret that has just been made, or emptied, has none; what is served
	// stays until there is another.
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		return reconcile.Result{}, nil //nolint:nilerr // the next change of the Secret comes here again
	}
	if err := lay(m.Dir, map[string][]byte{CertFile: cert, KeyFile: key}); err != nil {
		return reconcile.Result{}, fmt.Errorf("lay down the certificate of Secret %s in %s: %w", m.Secret, m.Dir, err)
	}
	return reconcile.Result{}, nil
}

// current is the link that all files go through.
const current = "..data"

// lay writes the files in the way that the kubelet lays down a Secret: into a
// new folder, to which one link is then switched, so that nobody ever reads the
// certificate of one pair and the key of another.
func lay(dir string, files map[string][]byte) error {
	if same(dir, files) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	old, err := os.Readlink(filepath.Join(dir, current))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	folder, err := os.MkdirTemp(dir, "..")
	if err != nil {
		return err
	}
	used := false
	defer func() {
		if !used {
			_ = os.RemoveAll(folder) // what went wrong is being returned already
		}
	}()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			return err
		}
	}
	if err := link(filepath.Base(folder), filepath.Join(dir, current)); err != nil {
		return err
	}
	used = true
	for name := range files {
		if err := link(filepath.Join(current, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if old != "" {
		return os.RemoveAll(filepath.Join(dir, filepath.Base(old)))
	}
	return nil
}

// link makes or switches a symbolic link in one step.
func link(target, path string) error {
	if have, err := os.Readlink(path); err == nil && have == target {
		return nil
	}
	next := path + ".next"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, next); err != nil {
		return err
	}
	return os.Rename(next, path)
}

func same(dir string, files map[string][]byte) bool {
	for name, content := range files {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(have, content) {
			return false
		}
	}
	return true
}
