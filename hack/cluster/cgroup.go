//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// cgroupMount is where control groups are mounted: of version 2 if it has a
// cgroup.controllers file, else with a folder for each controller of version 1.
const cgroupMount = "/sys/fs/cgroup"

// controllers are what kubelet and runc must find delegated under version 2, as
// far as the kernel has them.
var controllers = []string{"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}

// hierarchies lists the trees of control groups below mount.
func hierarchies(mount string) (roots []string, v2 bool, err error) {
	if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err == nil {
		return []string{mount}, true, nil
	}
	entries, err := os.ReadDir(mount)
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		// "cpu" and "cpuacct" may be links to the folder of both.
		if e.IsDir() {
			roots = append(roots, filepath.Join(mount, e.Name()))
		}
	}
	if len(roots) == 0 {
		return nil, false, fmt.Errorf("%s: no control groups are mounted", mount)
	}
	return roots, false, nil
}

// makeCgroup makes the group in every hierarchy. Kubelet does not make the one
// that it is told to start from.
func makeCgroup(mount, group string) error {
	roots, v2, err := hierarchies(mount)
	if err != nil {
		return err
	}
	for _, root := range roots {
		dir := root
		if v2 {
			if err := delegate(dir); err != nil {
				return err
			}
		}
		for _, name := range strings.Split(group, "/") {
			parent := dir
			dir = filepath.Join(dir, name)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			if v2 {
				err = delegate(dir)
			} else {
				err = inheritCpuset(parent, dir)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// delegate lets the children of dir have controllers (version 2).
func delegate(dir string) error {
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	have := strings.Fields(string(available))
	for _, name := range controllers {
		if !slices.Contains(have, name) {
			continue
		}
		err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0o644)
		if errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("%s: cannot be divided while it holds processes itself; inside a container, "+
				"first move all of them into a child of it: %w", dir, err)
		}
		if err != nil {
			return fmt.Errorf("delegate %s in %s: %w", name, dir, err)
		}
	}
	return nil
}

// inheritCpuset fills in what a new version 1 cpuset leaves empty, without which
// no process can join it. Other controllers have no such files.
func inheritCpuset(parent, dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// descend calls visit for the group and all groups below it, in every hierarchy,
// children first.
func descend(mount, group string, visit func(dir string) error) error {
	roots, _, err := hierarchies(mount)
	if err != nil {
		return err
	}
	for _, root := range roots {
		var dirs []string
		err := filepath.WalkDir(filepath.Join(root, group), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone meanwhile, or never there
			}
			if err != nil {
				return err
			}
			if d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, dir := range slices.Backward(dirs) {
			if err := visit(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// cgroupPIDs lists the processes of the node's pods.
func (n node) cgroupPIDs() ([]int, error) {
	var pids []int
	err := descend(cgroupMount, n.cgroup, func(dir string) error {
		list, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return err
		}
		more, err := parsePIDs(string(list))
		pids = append(pids, more...)
		return err
	})
	slices.Sort(pids)
	return slices.Compact(pids), err
}

// removeCgroups removes what makeCgroup, kubelet and runc made. The processes in
// it must be gone.
func removeCgroups(mount, group string) error {
	return descend(mount, group, func(dir string) error {
		if err := syscall.Rmdir(dir); err != nil {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		return nil
	})
}
