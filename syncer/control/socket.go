package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// maxSocketPath is what fits into struct sockaddr_un, less the final NUL.
const maxSocketPath = 107

// Listen opens the control socket in stateDir, for the own user alone. A
// socket that a killed predecessor left is replaced; that nobody else uses
// stateDir is the caller's to know.
func Listen(stateDir string) (net.Listener, error) {
	path := filepath.Join(stateDir, contract.SocketName)
	l, err := listen(stateDir, path)
	if err != nil {
		return nil, fmt.Errorf("open control socket %s: %w", path, err)
	}
	return l, nil
}

func listen(stateDir, path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case err == nil && info.Mode().Type() != fs.ModeSocket:
		return nil, errors.New("the name is taken by something that is not a socket; remove it")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	// Made in a folder that only we can enter, and moved to its name when its
	// permissions are right: there is no moment at which others could connect,
	// nor one without a socket.
	private, err := os.MkdirTemp(stateDir, ".control-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(private) }()
	first := filepath.Join(private, "s")
	var l *net.UnixListener
	err = withShortPath(first, func(short string) error {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it knows the first name only
	info, err := os.Lstat(first)
	if err == nil {
		err = os.Chmod(first, 0o600)
	}
	if err == nil {
		err = os.Rename(first, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &socket{UnixListener: l, path: path, info: info}, nil
}

// socket removes its file when it is closed.
type socket struct {
	*net.UnixListener
	path string
	info fs.FileInfo
}

func (s *socket) Close() error {
	err := s.UnixListener.Close()
	// Only our own: by now a successor may have put its socket there.
	if now, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(now, s.info) {
		_ = os.Remove(s.path)
	}
	return err
}

// dial connects to the control socket in stateDir.
func dial(ctx context.Context, stateDir string) (conn net.Conn, err error) {
	err = withShortPath(filepath.Join(stateDir, contract.SocketName), func(short string) error {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", short)
		return err
	})
	return conn, err
}

// withShortPath calls f with a name of the socket at path that the kernel
// takes: where path is too long, one by way of its opened folder.
func withShortPath(path string, f func(short string) error) error {
	if len(path) <= maxSocketPath {
		return f(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	const descriptors = "/proc/self/fd"
	if _, err := os.Stat(descriptors); err != nil {
		return fmt.Errorf("the path has %d bytes and a socket's may have %d; use a shorter state directory", len(path), maxSocketPath)
	}
	return f(filepath.Join(descriptors, strconv.Itoa(int(dir.Fd())), filepath.Base(path)))
}
