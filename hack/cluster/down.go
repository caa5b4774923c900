//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// down ends all processes of the cluster and removes all that it made on this
// machine, but its logs. It may be called in any state.
func (c *cluster) down(ctx context.Context) error {
	names, err := c.procs.names()
	if err != nil {
		return err
	}
	isRuntime := func(name string) bool { return strings.HasPrefix(name, "containerd-") }
	isAgent := func(name string) bool { return strings.HasPrefix(name, "kube") && !isRuntime(name) }

	// First whoever would start again what is ended next, and containerd last: it
	// tidies up after the containers that end while it still runs.
	if err := c.procs.stopAll(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !isAgent(n) })); err != nil {
		return err
	}
	if err := c.eachNode(func(n node) error { return n.endContainers(ctx) }); err != nil {
		return err
	}
	if err := c.procs.stopAll(slices.DeleteFunc(names, isAgent)); err != nil {
		return err
	}
	if err := c.eachNode(func(n node) error { return n.sweep(ctx) }); err != nil {
		return err
	}

	if err := unmountAll(c.state); err != nil {
		return err
	}
	if err := c.removeNetwork(ctx); err != nil {
		return fmt.Errorf("remove the network: %w", err)
	}
	if err := removeCgroups(cgroupMount, clusterName); err != nil {
		return fmt.Errorf("remove control groups: %w", err)
	}
	if err := c.restoreKernel(); err != nil {
		return fmt.Errorf("restore kernel settings: %w", err)
	}
	if err := c.removeStrays(); err != nil {
		return err
	}
	if err := os.Remove(c.kubeconfig()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(c.state)
}

// endContainers kills all containers of the node and waits a while for their
// shims, which end by themselves once containerd has seen it.
func (n node) endContainers(ctx context.Context) error {
	pids, err := n.cgroupPIDs()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %d in %s: %w", pid, n.cgroup, err)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		pids, err := n.pidsIn(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(pids, isShim) {
			return nil
		}
	}
	return nil // sweep ends those
}

// removeStrays removes what kubelet and the CNI library write at places that
// cannot be configured: links to the logs of containers, what was answered when a
// container was given its addresses, and a socket for device plugins.
func (c *cluster) removeStrays() error {
	strays := []string{
		"/var/lib/kubelet/device-plugins/kubelet.sock",
		"/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint",
	}
	links, err := filepath.Glob("/var/log/containers/*")
	if err != nil {
		return err
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, c.state+"/") {
			strays = append(strays, link)
		}
	}
	const results = "/var/lib/cni/results/"
	for _, n := range c.nodes {
		prefix := results + n.netns + "-" // network, container, interface
		answers, err := filepath.Glob(prefix + "*-eth0")
		if err != nil {
			return err
		}
		for _, answer := range answers {
			container := strings.TrimSuffix(strings.TrimPrefix(answer, prefix), "-eth0")
			strays = append(strays, answer, results+"cni-loopback-"+container+"-lo")
		}
	}
	for _, path := range strays {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// And their folders, unless somebody else has something there.
	for _, dir := range []string{
		"/var/lib/kubelet/device-plugins", "/var/lib/kubelet", "/var/log/containers", results, "/var/lib/cni",
	} {
		_ = syscall.Rmdir(dir)
	}
	return nil
}
