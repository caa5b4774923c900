package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// cacheName is our folder below the user's cache folder. What is lost with a
// cache is a memory, not a file: what is equal is found equal again.
const cacheName = "minio-sidecar"

// findStateDir is the state directory of these settings: the one that is
// named, else one of the user's for this folder, endpoint, bucket and prefix.
func (s *settings) findStateDir(userCache func() (string, error)) (string, error) {
	if s.stateDir != "" {
		return filepath.Abs(s.stateDir)
	}
	for _, name := range []string{contract.FlagPath, contract.FlagBucket, contract.FlagEndpoint} {
		if s.require(name) != nil {
			return "", &badSetting{flag: contract.FlagStateDir, missing: true,
				must: "that of the sync that is meant, or --path, --endpoint, --bucket and --prefix must be"}
		}
	}
	folder, err := filepath.Abs(s.path)
	if err != nil {
		return "", fmt.Errorf("find the state directory: %w", err)
	}
	cache, err := userCache()
	if err != nil {
		return "", &badSetting{flag: contract.FlagStateDir, missing: true,
			must: fmt.Sprintf("the path of a folder, because this user has no cache folder (%v)", err)}
	}
	id := sha256.Sum256([]byte(strings.Join([]string{folder, s.endpoint, s.bucket, s.prefix}, "\x00")))
	return filepath.Join(cache, cacheName, hex.EncodeToString(id[:8])), nil
}

// checkOutside refuses a folder of ours inside the one that is synced: our
// state would go to the bucket, and so would the keys to it.
func checkOutside(flag, folder, volume string) error {
	inside, err := contains(volume, folder)
	if err != nil {
		return fmt.Errorf("compare --%s with --%s: %w", flag, contract.FlagPath, err)
	}
	if inside {
		return &badSetting{flag: flag, value: folder, must: fmt.Sprintf("outside of --%s %q, or it would be synced", contract.FlagPath, volume)}
	}
	return nil
}

// contains reports whether inner is outer or below it, links resolved.
func contains(outer, inner string) (bool, error) {
	outer, err := resolve(outer)
	if err != nil {
		return false, err
	}
	inner, err = resolve(inner)
	if err != nil {
		return false, err
	}
	relative, err := filepath.Rel(outer, inner)
	if err != nil {
		return false, err
	}
	return relative != ".." && !strings.HasPrefix(relative, "../"), nil
}

// resolve is filepath.EvalSymlinks for a path whose end may not exist yet.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) || path == "/" {
		return real, err
	}
	parent, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

// prepareFolders makes the volume and the state directory where they are
// missing, and checks that they, and the credentials, are apart.
func (s *settings) prepareFolders(stateDir string, createVolume bool) error {
	if err := checkOutside(contract.FlagStateDir, stateDir, s.path); err != nil {
		return err
	}
	if s.credentialsDir != "" {
		if err := checkOutside(contract.FlagCredentialsDir, s.credentialsDir, s.path); err != nil {
			return err
		}
	}
	if createVolume {
		if err := os.MkdirAll(s.path, 0o755); err != nil {
			return fmt.Errorf("make the folder of --%s: %w", contract.FlagPath, err)
		}
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return fmt.Errorf("make the folder of --%s: %w", contract.FlagStateDir, err)
	}
	return nil
}
