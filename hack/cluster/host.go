//go:build linux

package main

import (
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Where Debian's packages put what has no place in PATH.
const (
	cniPlugins  = "/usr/lib/cni"
	busyboxPath = "/bin/busybox"
)

// missingPackages lists the Debian packages of which some needed part is not on
// this machine.
func missingPackages() []string {
	var missing []string
	need := func(pkg string, there bool) {
		if !there {
			missing = append(missing, pkg)
		}
	}
	for program, pkg := range map[string]string{
		"containerd": "containerd", "ctr": "containerd", "runc": "runc",
		"ip": "iproute2", "iptables": "iptables",
		"nsenter": "util-linux", "mount": "mount",
	} {
		_, err := exec.LookPath(program)
		need(pkg, err == nil)
	}
	_, err := os.Stat(filepath.Join(cniPlugins, "bridge"))
	need("containernetworking-plugins", err == nil)
	need("busybox-static", isStatic(busyboxPath))
	slices.Sort(missing)
	return slices.Compact(missing)
}

// isStatic says whether the program at path runs without any library: only such
// a one can be the sole file of an image.
func isStatic(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// installPackages installs what is missing.
func (c *cluster) installPackages(ctx context.Context) error {
	missing := missingPackages()
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this machine lacks what these Debian packages hold; install it first: %s", strings.Join(missing, " "))
	}
	c.say("installing %s", strings.Join(missing, " "))
	if err := command(ctx, "apt-get", "update"); err != nil {
		return err
	}
	install := append([]string{"env", "DEBIAN_FRONTEND=noninteractive",
		"apt-get", "install", "--yes", "--no-install-recommends"}, missing...)
	if err := command(ctx, install...); err != nil {
		return err
	}
	if still := missingPackages(); len(still) > 0 {
		return fmt.Errorf("installed, and yet something of these packages is missing: %s", strings.Join(still, " "))
	}
	return nil
}

// Kernel settings that the cluster needs or that kubelet changes on its own, with
// the value that each must have at least. "" only keeps the old value for down.
var kernelSettings = map[string]string{
	"net/ipv4/ip_forward":                "1",
	"fs/inotify/max_user_instances":      "8192", // two kubelets and every pod share them
	"fs/inotify/max_user_watches":        "524288",
	"vm/overcommit_memory":               "",
	"vm/panic_on_oom":                    "",
	"kernel/panic":                       "",
	"kernel/panic_on_oops":               "",
	"kernel/keys/root_maxkeys":           "",
	"kernel/keys/root_maxbytes":          "",
	"net/netfilter/nf_conntrack_max":     "",
	"net/bridge/bridge-nf-call-iptables": "",
}

// prepareKernel loads modules and raises settings, after writing down what they
// were. Calling it again does not forget the first values.
func (c *cluster) prepareKernel(ctx context.Context) error {
	for _, module := range []string{"overlay", "br_netfilter", "nf_conntrack"} {
		_ = command(ctx, "modprobe", module) // most kernels have it, or load it on demand
	}
	saved := c.path("kernel-settings.json")
	if _, err := os.Stat(saved); errors.Is(err, fs.ErrNotExist) {
		before := map[string]string{}
		for name := range kernelSettings {
			if value, err := readSetting(name); err == nil {
				before[name] = value
			}
		}
		data, err := json.MarshalIndent(before, "", "  ")
		if err != nil {
			return err
		}
		if err := writeFile(saved, string(data), 0o644); err != nil {
			return err
		}
	}
	for name, least := range kernelSettings {
		if least == "" {
			continue
		}
		if err := raiseSetting(name, least); err != nil {
			return err
		}
	}
	return nil
}

// restoreKernel puts settings back to what they were before.
func (c *cluster) restoreKernel() error {
	data, err := os.ReadFile(c.path("kernel-settings.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var before map[string]string
	if err := json.Unmarshal(data, &before); err != nil {
		return err
	}
	var errs []error
	for name, value := range before {
		if now, err := readSetting(name); err != nil || now == value {
			continue
		}
		errs = append(errs, os.WriteFile("/proc/sys/"+name, []byte(value), 0o644))
	}
	return errors.Join(errs...)
}

func readSetting(name string) (string, error) {
	value, err := os.ReadFile("/proc/sys/" + name)
	return strings.TrimSpace(string(value)), err
}

func raiseSetting(name, least string) error {
	value, err := readSetting(name)
	if err != nil {
		return err
	}
	now, err := strconv.Atoi(value)
	if err != nil {
		return fmt.Errorf("kernel setting %s: %w", name, err)
	}
	if want, err := strconv.Atoi(least); err != nil || now >= want {
		return err
	}
	return os.WriteFile("/proc/sys/"+name, []byte(least), 0o644)
}

// resolvConf is the host's, without resolvers on a loopback address, which would
// mean the pod itself to a pod.
func resolvConf() (string, error) {
	data, err := os.ReadFile("/etc/resolv.conf")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return withoutLoopback(string(data)), err
}

func withoutLoopback(conf string) string {
	var b strings.Builder
	for line := range strings.Lines(conf) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "nameserver" {
			if addr, err := netip.ParseAddr(fields[1]); err == nil && !addr.IsLoopback() {
				fmt.Fprintf(&b, "nameserver %s\n", addr)
			}
		}
	}
	return b.String()
}

// mountsBelow lists the mount points below dir, those on top first.
func mountsBelow(mountinfo, dir string) []string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var below []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		const mountPoint = 4 // see proc(5), mountinfo
		if len(fields) <= mountPoint {
			continue
		}
		if path := unescape.Replace(fields[mountPoint]); strings.HasPrefix(path, dir+"/") {
			below = append(below, path)
		}
	}
	slices.Reverse(below)
	return below
}

// unmountAll unmounts all below dir. Only after it may dir be removed: through a
// mount that is left, a removal would reach what is not the cluster's.
func unmountAll(dir string) error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, path := range mountsBelow(string(info), dir) {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	return nil
}
