package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// amount is how much there is of something.
type amount struct{ files, bytes int64 }

// fill writes count files of size bytes each into dir, 100 to a folder, with
// contents that do not compress.
func fill(dir string, count int, size int64) error {
	random := rand.NewChaCha8([32]byte{'b', 'e', 'n', 'c', 'h'})
	for i := range count {
		path := filepath.Join(dir, fmt.Sprintf("%03d/%05d.bin", i/100, i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		_, err = io.CopyN(f, random, size)
		if err := f.Close(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eachFile visits the regular files of dir but those that a sidecar keeps for itself.
func eachFile(dir string, visit func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == filepath.Clean(contract.Reserved) {
			return fs.SkipDir
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return visit(path, info)
	})
}

func measureDir(dir string) (amount, error) {
	var a amount
	return a, eachFile(dir, func(_ string, info fs.FileInfo) error {
		a.files++
		a.bytes += info.Size()
		return nil
	})
}

// measureBucket asks the store what it has, without what sidecars keep there
// for themselves.
func (c *mc) measureBucket(ctx context.Context, bucket string) (amount, error) {
	command := exec.CommandContext(ctx, c.binary, "--json", "ls", "--recursive", "bench/"+bucket)
	command.Env = c.env
	out, err := command.Output()
	if err != nil {
		return amount{}, fmt.Errorf("list bucket %s: %w", bucket, err)
	}
	var a amount
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var object struct {
			Key  string `json:"key"`
			Size int64  `json:"size"`
		}
		if err := decoder.Decode(&object); err != nil {
			return amount{}, fmt.Errorf("list bucket %s: %w", bucket, err)
		}
		if len(object.Key) < len(contract.Reserved) || object.Key[:len(contract.Reserved)] != contract.Reserved {
			a.files++
			a.bytes += object.Size
		}
	}
	return a, nil
}

// sameFiles compares two folders by content.
func sameFiles(want, got string) error {
	here, err := measureDir(want)
	if err != nil {
		return err
	}
	there, err := measureDir(got)
	if err != nil {
		return err
	}
	if here != there {
		return fmt.Errorf("%d files of %d bytes arrived, not %d of %d", there.files, there.bytes, here.files, here.bytes)
	}
	return eachFile(want, func(path string, _ fs.FileInfo) error {
		name, err := filepath.Rel(want, path)
		if err != nil {
			return err
		}
		a, err := sum(path)
		if err != nil {
			return err
		}
		b, err := sum(filepath.Join(got, name))
		if err != nil {
			return err
		}
		if a != b {
			return fmt.Errorf("%s arrived with other content", name)
		}
		return nil
	})
}

func sum(path string) (s [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return s, err
	}
	h.Sum(s[:0])
	return s, nil
}
