//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// networkUp says whether the bridge and every node's network are there. They
// come and go as one: nothing else removes single pieces of them.
func (c *cluster) networkUp() bool {
	paths := []string{"/sys/class/net/" + bridge}
	for _, n := range c.nodes {
		paths = append(paths, "/sys/class/net/"+n.veth, "/run/netns/"+n.netns)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

// ensureNetwork connects the nodes: a bridge on the host, and for each node a
// network namespace with a cable to the bridge. The host knows the way to every
// pod and Service, because the API server there calls webhooks.
func (c *cluster) ensureNetwork(ctx context.Context) error {
	if c.networkUp() {
		return nil
	}
	if err := commands(ctx,
		"ip link add "+bridge+" type bridge",
		"ip addr add "+bridgeAddr+"/24 dev "+bridge,
		"ip link set "+bridge+" up",
	); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := c.addNode(ctx, n); err != nil {
			return fmt.Errorf("network of %s: %w", n.name, err)
		}
	}
	// kube-proxy of any one node will do: it masquerades what comes from outside
	// of podSubnet, so that answers come back through it.
	if err := command(ctx, "ip", "route", "add", serviceCIDR, "via", c.nodes[0].ip); err != nil {
		return err
	}
	for _, rule := range firewall() {
		if err := command(ctx, rule.argv("-I")...); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) addNode(ctx context.Context, n node) error {
	err := commands(ctx,
		"ip netns add "+n.netns,
		"ip link add "+n.veth+" type veth peer name eth0 netns "+n.netns,
		"ip link set "+n.veth+" master "+bridge+" up",
		"ip -n "+n.netns+" link set lo up",
		"ip -n "+n.netns+" addr add "+n.ip+"/24 dev eth0",
		"ip -n "+n.netns+" link set eth0 up",
		"ip -n "+n.netns+" route add default via "+bridgeAddr,
		"ip route add "+n.podCIDR+" via "+n.ip,
	)
	if err != nil {
		return err
	}
	for _, other := range c.nodes {
		if other.name == n.name {
			continue
		}
		if err := commands(ctx, "ip -n "+n.netns+" route add "+other.podCIDR+" via "+other.ip); err != nil {
			return err
		}
	}
	// A node routes for its pods, and Services must also work between two pods on
	// one bridge.
	return command(ctx, n.inside("busybox", "sysctl", "-q", "-w",
		"net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1")...)
}

// A rule is one line of the host's firewall.
type rule struct{ table, chain, match string }

// argv is the iptables command that carries out action (-I, -D) on the rule. The
// comment says to whom it belongs.
func (r rule) argv(action string) []string {
	return append([]string{"iptables", "-w", "-t", r.table, action, r.chain},
		strings.Fields("-m comment --comment "+clusterName+"-cluster "+r.match)...)
}

// firewall lets the cluster talk with the host and through it, also where the
// host's own rules drop by default, as Docker's do.
func firewall() []rule {
	return []rule{
		{"filter", "INPUT", "-i " + bridge + " -j ACCEPT"},
		{"filter", "FORWARD", "-i " + bridge + " -j ACCEPT"},
		{"filter", "FORWARD", "-o " + bridge + " -j ACCEPT"},
		{"nat", "POSTROUTING", "-s " + nodeSubnet + " ! -o " + bridge + " -j MASQUERADE"},
		{"nat", "POSTROUTING", "-s " + podSubnet + " ! -o " + bridge + " -j MASQUERADE"},
	}
}

// removeNetwork removes whatever of the network is there. The nodes' processes
// must be gone.
func (c *cluster) removeNetwork(ctx context.Context) error {
	var errs []error
	for _, n := range c.nodes {
		if _, err := os.Stat("/run/netns/" + n.netns); err == nil {
			errs = append(errs, command(ctx, "ip", "netns", "del", n.netns))
		}
		// The cable goes with its namespace, but only some time after it.
		if _, err := os.Stat("/sys/class/net/" + n.veth); err == nil {
			_ = command(ctx, "ip", "link", "del", n.veth) // it may go meanwhile
		}
	}
	if _, err := os.Stat("/sys/class/net/" + bridge); err == nil {
		errs = append(errs, command(ctx, "ip", "link", "del", bridge)) // with its routes
	}
	for _, rule := range firewall() {
		// A repair that failed half-way may have left the same rule twice.
		for range 4 {
			if command(ctx, rule.argv("-D")...) != nil {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// pidsIn lists the processes in the node's network namespace: its containerd,
// kubelet and kube-proxy, the shims of its containers, and the containers that
// share the node's network. Other containers have namespaces of their own.
func (n node) pidsIn(ctx context.Context) ([]int, error) {
	if _, err := os.Stat("/run/netns/" + n.netns); err != nil {
		return nil, nil
	}
	out, err := output(ctx, "ip", "netns", "pids", n.netns)
	if err != nil {
		return nil, err
	}
	return parsePIDs(out)
}

func parsePIDs(list string) ([]int, error) {
	var pids []int
	for _, field := range strings.Fields(list) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("process id %q: %w", field, err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// isShim says whether pid is the parent of some container.
func isShim(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && strings.HasPrefix(filepath.Base(exe), "containerd-shim")
}

// sweep ends every process of the node that is still there.
func (n node) sweep(ctx context.Context) error {
	return eventually(ctx, "end the processes of "+n.name, 10*time.Second, func(ctx context.Context) error {
		pids, err := n.pidsIn(ctx)
		if err != nil {
			return err
		}
		inCgroup, err := n.cgroupPIDs()
		if err != nil {
			return err
		}
		pids = append(pids, inCgroup...)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(pids) > 0 {
			return fmt.Errorf("%d left", len(pids))
		}
		return nil
	})
}
