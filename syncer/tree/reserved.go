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
// (see the package documentation). [ErrReplaced]: the path does not lead to
// this volume any more.
func (t *Tree) VolumeID() (string, error) {
	if err := t.present(); err != nil {
		return "", fmt.Errorf("identify volume %s: %w", t.path, err)
	}
	return t.id, nil
}

// Mended is how often the reserved folder, or what is in it, was missing and
// was put back. An app that removes it most likely removes everything.
func (t *Tree) Mended() uint64 { return t.mended.Load() }

// present returns nil as long as the path leads to the volume that was opened.
// As that is open, nothing else can have its number meanwhile. A reserved
// folder that the app has removed is put back; who gave the volume another
// identity has opened it as one that was new.
func (t *Tree) present() error {
	fd, err := unix.Open(t.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if err := beneath.Lstat(fd, "", &st); err != nil {
		return err
	}
	if st.Ino != t.self.Ino || !beneath.SameDevice(&st, &t.self) {
		return fmt.Errorf("%w: another folder is mounted at its path", ErrReplaced)
	}
	reserved, err := beneath.Child(fd, reservedName, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return t.mend()
	}
	defer unix.Close(reserved)
	if id, _, err := loadID(reserved); err != nil || id != t.id {
		return t.mend()
	}
	return nil
}

// mend puts back what is missing in the reserved folder, and the folder.
func (t *Tree) mend() error {
	t.mending.Lock()
	defer t.mending.Unlock()
	reserved, err := t.openReserved()
	if errors.Is(err, unix.ENOENT) { // so was the volume's root
		return fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	if err != nil {
		return err
	}
	defer unix.Close(reserved)
	missing := false
	id, _, err := loadID(reserved)
	switch {
	case err == unix.ENOENT, errors.Is(err, errNoID):
		missing = true
		if err := storeID(reserved, t.id, bootID()); err != nil {
			return fmt.Errorf("write %s/%s: %w", reservedName, idName, err)
		}
	case err != nil:
		return fmt.Errorf("read %s/%s: %w", reservedName, idName, err)
	case id != t.id:
		return fmt.Errorf("%w: its identity is %s, was %s", ErrReplaced, id, t.id)
	}
	renewed, err := t.renewTmp(reserved)
	if missing || renewed {
		t.mended.Add(1)
	}
	return err
}

// gone says what is to be done about an error of an operation on the process's
// own temporary entries: where they were removed, with their folder or alone,
// the folder is put back, and the caller looks again.
func (t *Tree) gone(err error) error {
	if err != unix.ENOENT {
		return err
	}
	if err := t.mend(); err != nil {
		return err
	}
	return fmt.Errorf("%w: the temporary entry was removed", ErrChanged)
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
