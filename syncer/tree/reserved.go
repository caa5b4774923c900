package tree

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/syncer/tree/beneath"
)

const (
	idName  = "volume" // in the reserved folder: "<identity> <boot>\n"
	tmpName = "tmp"    // in the reserved folder: a folder for each process
)

// VolumeID is the volume's identity: random, written into the reserved folder
// when the volume was first opened, and again after each boot of the machine
// (see the package documentation). It is read each time, through the path
// given to [Open], so a volume that was unmounted, renamed, replaced or
// emptied has another identity or none; none is [ErrReplaced].
func (t *Tree) VolumeID() (string, error) {
	id, err := t.readID()
	if err != nil {
		return "", fmt.Errorf("read the identity of volume %s: %w", t.path, err)
	}
	return id, nil
}

func (t *Tree) readID() (string, error) {
	fd, err := unix.Open(t.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	defer unix.Close(fd)
	reserved, err := beneath.Child(fd, reservedName, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrReplaced, reservedName, err)
	}
	defer unix.Close(reserved)
	id, _, err := loadID(reserved)
	if err != nil {
		return "", fmt.Errorf("%w: %s/%s: %w", ErrReplaced, reservedName, idName, err)
	}
	return id, nil
}

// present returns nil as long as the path still leads to the volume that was
// opened.
func (t *Tree) present() error {
	id, err := t.readID()
	if err == nil && id != t.id {
		err = fmt.Errorf("%w: its identity is %s, was %s", ErrReplaced, id, t.id)
	}
	return err
}

// openReserved opens the reserved folder, made if missing. A symbolic link in
// its place is an error: the app could lead the syncer anywhere by it.
func (t *Tree) openReserved() (int, error) {
	err := unix.Mkdirat(t.root.FD(), reservedName, 0o755)
	if err != nil && err != unix.EEXIST {
		return -1, fmt.Errorf("make %s: %w", reservedName, err)
	}
	fd, err := beneath.Child(t.root.FD(), reservedName, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", reservedName, err)
	}
	return fd, nil
}

// identify returns the volume's identity, and gives it one where it has none
// or got it under another boot.
func identify(reserved int) (string, error) {
	boot := bootID()
	id, oldBoot, err := loadID(reserved)
	if err == nil && oldBoot == boot {
		return id, nil
	}
	if err != nil && err != unix.ENOENT && !errors.Is(err, errNoID) {
		return "", fmt.Errorf("read %s/%s: %w", reservedName, idName, err)
	}
	id = rand.Text()
	if err := storeID(reserved, id, boot); err != nil {
		return "", fmt.Errorf("write %s/%s: %w", reservedName, idName, err)
	}
	// Another process may have been doing the same; the last rename counts.
	id, _, err = loadID(reserved)
	return id, err
}

var errNoID = errors.New("it holds no identity")

func loadID(reserved int) (id, boot string, err error) {
	fd, err := beneath.Child(reserved, idName, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return "", "", err
	}
	defer unix.Close(fd)
	var buf [256]byte
	n, err := unix.Pread(fd, buf[:], 0)
	if err != nil {
		return "", "", err
	}
	line, ended := strings.CutSuffix(string(buf[:n]), "\n")
	words := strings.Fields(line)
	if !ended || len(words) != 2 {
		return "", "", errNoID
	}
	return words[0], words[1], nil
}

func storeID(reserved int, id, boot string) error {
	name := idName + "." + id
	fd, err := unix.Openat(reserved, name,
		unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(id+" "+boot+"\n"))
	unix.Close(fd)
	if err == nil {
		err = unix.Renameat(reserved, name, reserved, idName)
	}
	if err != nil {
		_ = unix.Unlinkat(reserved, name, 0)
	}
	return err
}

// bootID names the running boot of the kernel. Where /proc does not say,
// reboots go unnoticed.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if id := strings.TrimSpace(string(b)); err == nil && id != "" && !strings.ContainsAny(id, " \t\n") {
		return id
	}
	return "unknown"
}
