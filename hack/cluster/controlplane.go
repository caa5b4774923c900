//go:build linux

package main

import "fmt"

// etcd keeps what the API server is told. It does not wait for the disk: this
// cluster is not meant to survive the machine.
func (c *cluster) etcd(parts map[string]string) process {
	client, peer := "http://"+etcdAddr, "http://"+etcdPeerAddr
	return process{name: "etcd", argv: []string{
		parts["etcd"],
		"--data-dir=" + c.path("etcd"),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=default=" + peer,
		"--unsafe-no-fsync",
		"--log-level=warn",
	}}
}

// apiServer has the admission plugins that every cluster has by default, Pod
// Security and ValidatingAdmissionPolicy among them.
func (c *cluster) apiServer(parts map[string]string) process {
	return process{name: "kube-apiserver", argv: []string{
		parts["kube-apiserver"],
		"--etcd-servers=http://" + etcdAddr,
		"--advertise-address=" + bridgeAddr,
		"--bind-address=" + bridgeAddr,
		fmt.Sprintf("--secure-port=%d", apiPort),
		"--tls-cert-file=" + c.pki("apiserver.crt"),
		"--tls-private-key-file=" + c.pki("apiserver.key"),
		"--client-ca-file=" + c.pki("ca.crt"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--service-cluster-ip-range=" + serviceCIDR,
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-signing-key-file=" + c.pki("service-accounts.key"),
		"--service-account-key-file=" + c.pki("service-accounts.pub"),
		"--kubelet-certificate-authority=" + c.pki("ca.crt"),
		"--kubelet-client-certificate=" + c.pki("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + c.pki("apiserver-kubelet.key"),
		// Nodes' names are in no DNS.
		"--kubelet-preferred-address-types=InternalIP",
		// Webhooks and aggregated APIs are called at their pods, because no
		// kube-proxy serves the host.
		"--enable-aggregator-routing=true",
		"--proxy-client-cert-file=" + c.pki("front-proxy.crt"),
		"--proxy-client-key-file=" + c.pki("front-proxy.key"),
		"--requestheader-client-ca-file=" + c.pki("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
	}}
}

func (c *cluster) controllerManager(parts map[string]string) process {
	config := c.pki("controller-manager.conf")
	return process{name: "kube-controller-manager", argv: []string{
		parts["kube-controller-manager"],
		"--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + c.pki("service-accounts.key"),
		"--root-ca-file=" + c.pki("ca.crt"),
		"--cluster-signing-cert-file=" + c.pki("ca.crt"),
		"--cluster-signing-key-file=" + c.pki("ca.key"),
	}}
}

func (c *cluster) scheduler(parts map[string]string) process {
	config := c.pki("scheduler.conf")
	return process{name: "kube-scheduler", argv: []string{
		parts["kube-scheduler"],
		"--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
	}}
}
