//go:build linux

package main

import (
	"fmt"
	"path/filepath"
)

// Addresses and names. All that the cluster makes on the host carries one of
// these names, so that down finds it even when its records are lost.
const (
	bridge       = "msc0" // connects the nodes with the host
	bridgeAddr   = "172.30.0.1"
	nodeSubnet   = "172.30.0.0/24"
	podSubnet    = "10.244.0.0/16" // each node has a /24 of it
	serviceCIDR  = "10.96.0.0/16"
	serviceIP    = "10.96.0.1"  // of the Service "kubernetes"
	dnsIP        = "10.96.0.10" // of the Service "kube-dns"
	clusterName  = "minio-sidecar"
	apiPort      = 6443
	etcdAddr     = "127.0.0.1:12379"
	etcdPeerAddr = "127.0.0.1:12380"
)

// A node is one machine of the cluster, as far as the cluster can tell.
type node struct {
	name    string // of the Node object
	ip      string // in nodeSubnet
	podCIDR string // of its pods, a /24 of podSubnet
	netns   string // its network namespace
	veth    string // the host's end of its cable
	cgroup  string // root of its pods' cgroups, below every controller's mount
	dir     string // what it writes
}

func newNode(state string, i int) node {
	name := fmt.Sprintf("node-%d", i)
	return node{
		name:    name,
		ip:      fmt.Sprintf("172.30.0.%d", 10+i),
		podCIDR: fmt.Sprintf("10.244.%d.0/24", i),
		netns:   clusterName + "-" + name,
		veth:    fmt.Sprintf("msc%d", i),
		cgroup:  clusterName + "/" + name,
		dir:     filepath.Join(state, name),
	}
}

func (n node) path(elem ...string) string {
	return filepath.Join(append([]string{n.dir}, elem...)...)
}

// socket is where the node's containerd listens.
func (n node) socket() string { return n.path("containerd.sock") }

// inside is the command line that runs argv in the node's network and otherwise
// on the host. nsenter rather than "ip netns exec", because the latter also makes
// a mount namespace, and mounts made by kubelet and containerd must be seen by
// each other.
func (n node) inside(argv ...string) []string {
	return append([]string{"nsenter", "--net=/run/netns/" + n.netns, "--"}, argv...)
}

// A cluster is the whole: its nodes and where things are.
type cluster struct {
	dir   string // all below is in here
	state string // removed by down
	logs  string // kept by down, for whoever wants to know what happened
	tools string // the script that prints the path of a part
	nodes []node
	procs supervisor
}

func newCluster(dir, tools string) *cluster {
	c := &cluster{
		dir:   dir,
		state: filepath.Join(dir, "state"),
		logs:  filepath.Join(dir, "logs"),
		tools: tools,
	}
	for i := 1; i <= 2; i++ {
		c.nodes = append(c.nodes, newNode(c.state, i))
	}
	c.procs = supervisor{records: c.path("processes"), logs: c.logs}
	return c
}

func (c *cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.state}, elem...)...)
}

func (c *cluster) pki(name string) string { return c.path("pki", name) }

// kubeconfig is the administrator's. It lies beside the state, so that its path
// is short and stays the same.
func (c *cluster) kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }
