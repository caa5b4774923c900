package loopback

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// MinIO is a MinIO server with credentials that exist as long as it does.
type MinIO struct {
	*Process
	Endpoint  string // http://127.0.0.1:port
	AccessKey string
	SecretKey string
}

// StartMinIO starts a server that keeps its data in dir.
func StartMinIO(dir, binary string) (*MinIO, error) {
	m := &MinIO{AccessKey: rand.Text(), SecretKey: rand.Text()}
	data, home := filepath.Join(dir, "data"), filepath.Join(dir, "home")
	for _, d := range []string{data, home} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	// Another process may take the port between our finding it free and the
	// server's taking it.
	var err error
	for range 5 {
		var address string
		if address, err = FreeAddress(); err != nil {
			return nil, err
		}
		m.Endpoint = "http://" + address
		m.Process, err = Start(dir, "minio", binary, []string{
			"HOME=" + home,
			"PATH=" + os.Getenv("PATH"),
			"MINIO_ROOT_USER=" + m.AccessKey,
			"MINIO_ROOT_PASSWORD=" + m.SecretKey,
			"MINIO_BROWSER=off",
			"MINIO_UPDATE=off",
			"MINIO_CALLHOME_ENABLE=off",
		}, "server", "--anonymous", "--quiet", "--address", address, data)
		if err != nil {
			return nil, err
		}
		if err = m.awaitReady(); err == nil {
			return m, nil
		}
		m.Kill()
	}
	return nil, err
}

func (m *MinIO) awaitReady() error {
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		answer, err := http.Get(m.Endpoint + "/minio/health/cluster")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-m.Done():
			return fmt.Errorf("minio ended while it was starting:\n%s", m.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("minio was not ready within a minute:\n%s", m.Log())
}

// FreeAddress is a loopback address, with a port, that nobody listens on.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Tool is the path of a real part, which is built if it is missing; root
// is the top of the checkout. What is being built is said on standard error.
func Tool(root, name string) (string, error) {
	get := exec.Command(filepath.Join(root, "hack/tools/get"), name)
	get.Stderr = os.Stderr
	path, err := get.Output()
	if err != nil {
		return "", fmt.Errorf("get %s: %w", name, err)
	}
	return strings.TrimSpace(string(path)), nil
}

// Root is the top of the checkout that the working directory is in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "hack/tools/get")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("run this inside the checkout")
		}
		dir = up
	}
}
