package chaos

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

// survey reads a volume, the reserved folder left out.
func survey(dir string) (map[string]record.State, error) {
	found := map[string]record.State{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || rel == "." {
			return err
		}
		if rel == strings.TrimSuffix(contract.Reserved, "/") {
			return fs.SkipDir
		}
		found[rel], err = look(p)
		return err
	})
	return found, err
}

// look reads what is at p, content and all.
func look(p string) (record.State, error) {
	s, err := lstat(p)
	if err != nil {
		return s, err
	}
	switch s.Kind {
	case record.Link:
		target, err := os.Readlink(p)
		s.Size, s.Sum = int64(len(target)), record.SumOf([]byte(target))
		return s, err
	case record.File:
		f, err := os.Open(p)
		if err != nil {
			return s, err
		}
		defer f.Close()
		var h record.Hasher
		_, err = io.Copy(&h, f)
		s.Sum, s.Size = h.Sum()
		return s, err
	}
	return s, nil
}

// lstat is everything but the content. What is not there is Absent.
func lstat(p string) (record.State, error) {
	info, err := os.Lstat(p)
	if os.IsNotExist(err) {
		return record.State{}, nil
	}
	if err != nil {
		return record.State{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	s := record.State{Perm: uint32(st.Mode & 0o7777), MTime: st.Mtim.Nano()}
	switch info.Mode().Type() {
	case 0:
		s.Kind = record.File
	case fs.ModeDir:
		s.Kind, s.MTime = record.Dir, 0
	case fs.ModeSymlink:
		s.Kind, s.Perm = record.Link, 0
	default:
		return s, fmt.Errorf("%s is %s, which nobody made", p, info.Mode())
	}
	return s, nil
}

// differ says where volume and bucket are not the same. A folder that has
// something in it and looks plain needs no object.
func differ(volume, bucket map[string]record.State) []record.Violation {
	var list []record.Violation
	for _, path := range slices.Sorted(maps.Keys(union(volume, bucket))) {
		v, b := volume[path], bucket[path]
		if v == b {
			continue
		}
		full := slices.ContainsFunc(slices.Collect(maps.Keys(volume)), func(p string) bool { return strings.HasPrefix(p, path+"/") })
		if b.Kind == record.Absent && v == (record.State{Kind: record.Dir, Perm: record.PlainDir}) && full {
			continue
		}
		list = append(list, record.Violation{Path: path, Found: b, What: fmt.Sprintf("the volume has %s, the bucket has something else", v)})
	}
	return list
}
