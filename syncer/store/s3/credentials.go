package s3

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// statInterval is how often, at most, the files are looked at.
const statInterval = time.Second

// credentialsDir reads credentials from a folder that looks like a mounted
// Secret, and reads them again when they change. Kubernetes replaces such
// files by pointing a symbolic link at a new folder, hence the inode beside
// the modification time.
type credentialsDir struct {
	dir string

	mu         sync.Mutex
	looked     time.Time // when the files were last looked at
	seen       [len(credentialFiles)]stamp
	value      credentials.Value
	pool       *x509.CertPool // nil: the system's
	generation uint64         // counts changes
	err        error          // why value cannot be used
	handedOut  uint64         // generation of the value that minio-go holds
}

var credentialFiles = [...]string{
	contract.AccessKeyFile, contract.SecretKeyFile, contract.SessionTokenFile, contract.CAFile,
}

// stamp is the zero value for a file that is not there.
type stamp struct {
	dev, inode  uint64
	size        int64
	sec, nsec   int64
	csec, cnsec int64
}

func newCredentialsDir(dir string) *credentialsDir { return &credentialsDir{dir: dir} }

// Retrieve implements credentials.Provider.
func (c *credentialsDir) Retrieve() (credentials.Value, error) {
	return c.RetrieveWithCredContext(nil)
}

// RetrieveWithCredContext implements credentials.Provider.
func (c *credentialsDir) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh()
	if c.err != nil {
		return credentials.Value{}, c.err
	}
	c.handedOut = c.generation
	return c.value, nil
}

// IsExpired implements credentials.Provider: whether Retrieve would say
// something new.
func (c *credentialsDir) IsExpired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh()
	return c.err != nil || c.handedOut != c.generation
}

// roots are the certificate authorities to trust, nil for the system's, and a
// number that changes with them.
func (c *credentialsDir) roots() (*x509.CertPool, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh()
	return c.pool, c.generation
}

// doubt makes the next use look at the files at once; called when the store
// has refused the present credentials.
func (c *credentialsDir) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked = time.Time{}
}

// refresh reads the files if they have changed. c.mu is held.
func (c *credentialsDir) refresh() {
	now := time.Now()
	if now.Sub(c.looked) < statInterval {
		return
	}
	c.looked = now
	var seen [len(credentialFiles)]stamp
	for i, name := range credentialFiles {
		seen[i] = stampOf(filepath.Join(c.dir, name))
	}
	if c.generation != 0 && seen == c.seen && c.err == nil {
		return
	}
	value, pool, err := readCredentials(c.dir)
	if err != nil && c.generation != 0 && c.err == nil {
		// Seen in the middle of being replaced, perhaps: look again at once,
		// and say so if it lasts.
		c.looked = time.Time{}
	}
	if c.generation == 0 || seen != c.seen {
		c.generation++
	}
	c.seen, c.value, c.pool, c.err = seen, value, pool, err
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{size: info.Size(), nsec: info.ModTime().UnixNano()}
	}
	return stamp{
		dev: uint64(st.Dev), inode: st.Ino, size: st.Size,
		sec: int64(st.Mtim.Sec), nsec: int64(st.Mtim.Nsec),
		csec: int64(st.Ctim.Sec), cnsec: int64(st.Ctim.Nsec),
	}
}

func readCredentials(dir string) (credentials.Value, *x509.CertPool, error) {
	var none credentials.Value
	accessKey, err := readCredential(dir, contract.AccessKeyFile, true)
	if err != nil {
		return none, nil, err
	}
	secretKey, err := readCredential(dir, contract.SecretKeyFile, true)
	if err != nil {
		return none, nil, err
	}
	token, err := readCredential(dir, contract.SessionTokenFile, false)
	if err != nil {
		return none, nil, err
	}
	authorities, err := readCredential(dir, contract.CAFile, false)
	if err != nil {
		return none, nil, err
	}
	var pool *x509.CertPool
	if authorities != "" {
		if pool, err = x509.SystemCertPool(); err != nil {
			pool = x509.NewCertPool() // an image without certificates
		}
		if !pool.AppendCertsFromPEM([]byte(authorities)) {
			return none, nil, fmt.Errorf("%w: no certificate in PEM form in %s",
				store.ErrAccessDenied, filepath.Join(dir, contract.CAFile))
		}
	}
	return credentials.Value{
		AccessKeyID:     accessKey,
		SecretAccessKey: secretKey,
		SessionToken:    token,
		SignerType:      credentials.SignatureV4,
	}, pool, nil
}

// readCredential reads one file without the line end that editors and echo
// leave behind.
func readCredential(dir, name string, required bool) (string, error) {
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && required:
		return "", fmt.Errorf("%w: credentials file %s is missing: the Secret needs the key %q",
			store.ErrAccessDenied, path, name)
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("%w: read credentials: %w", store.ErrAccessDenied, err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" && required {
		return "", fmt.Errorf("%w: credentials file %s is empty", store.ErrAccessDenied, path)
	}
	return text, nil
}
