//go:build linux

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pair
}

// A pair is a certificate and its private key, as PEM.
type pair struct{ cert, key string }

// validity is long enough for a cluster that lives for a working day or a few.
const validity = 365 * 24 * time.Hour

func newAuthority(name string) (authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	cert, p, err := sign(template, template, key, key)
	return authority{cert: cert, key: key, pair: p}, err
}

// issue makes a certificate for a user or server called name, in the group, if
// any, reachable at hosts (names or addresses), if any.
func (a authority) issue(name, group string, hosts ...string) (pair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if group != "" {
		template.Subject.Organization = []string{group}
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	_, p, err := sign(template, a.cert, key, a.key)
	return p, err
}

// sign completes template and signs it for key's owner with signer's key.
func sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey, signer crypto.Signer) (*x509.Certificate, pair, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, pair{}, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(validity)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, pair{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, pair{}, err
	}
	keyPEM, err := encodeKey(key)
	return cert, pair{cert: encodePEM("CERTIFICATE", der), key: keyPEM}, err
}

func encodeKey(key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return encodePEM("PRIVATE KEY", der), err
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// A wanted is a certificate to be issued. The files NAME.crt and NAME.key hold
// it, or the kubeconfig NAME.conf does, for one that is only a client.
type wanted struct {
	file, user, group string
	hosts             []string
	client            bool
}

func (c *cluster) wanted() []wanted {
	all := []wanted{
		{file: "apiserver", user: "kube-apiserver", hosts: []string{
			bridgeAddr, serviceIP, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local"}},
		{file: "apiserver-kubelet", user: "kube-apiserver-kubelet-client", group: "system:masters"},
		{file: "admin", user: "kubernetes-admin", group: "system:masters", client: true},
		{file: "controller-manager", user: "system:kube-controller-manager", client: true},
		{file: "scheduler", user: "system:kube-scheduler", client: true},
		{file: "proxy", user: "system:kube-proxy", client: true},
	}
	for _, n := range c.nodes {
		all = append(all,
			wanted{file: n.name + "-serving", user: n.name, hosts: []string{n.ip, n.name}},
			// The Node authorizer knows kubelets by this name and group.
			wanted{file: n.name, user: "system:node:" + n.name, group: "system:nodes", client: true})
	}
	return all
}

// ensurePKI issues all certificates once for the life of the cluster.
func (c *cluster) ensurePKI() error {
	if _, err := os.Stat(c.pki("")); err == nil {
		return nil
	}
	files, err := c.issueAll()
	if err != nil {
		return fmt.Errorf("issue certificates: %w", err)
	}
	// All or none, so that a folder that exists is a whole one.
	next := c.path("pki.new")
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	for name, content := range files {
		if err := writeFile(next+"/"+name, content, 0o600); err != nil {
			return err
		}
	}
	return os.Rename(next, c.pki(""))
}

// issueAll returns the content of all files of the pki folder by name.
func (c *cluster) issueAll() (map[string]string, error) {
	ca, err := newAuthority(clusterName + "-ca")
	if err != nil {
		return nil, err
	}
	// Aggregated API servers are to believe one client of an authority of its own,
	// and nobody that the cluster's authority vouches for.
	frontCA, err := newAuthority(clusterName + "-front-proxy-ca")
	if err != nil {
		return nil, err
	}
	front, err := frontCA.issue("front-proxy-client", "")
	if err != nil {
		return nil, err
	}
	accounts, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	accountsKey, err := encodeKey(accounts)
	if err != nil {
		return nil, err
	}
	accountsPublic, err := x509.MarshalPKIXPublicKey(accounts.Public())
	if err != nil {
		return nil, err
	}
	files := map[string]string{
		"ca.crt": ca.pair.cert, "ca.key": ca.pair.key,
		"front-proxy-ca.crt": frontCA.pair.cert,
		"front-proxy.crt":    front.cert, "front-proxy.key": front.key,
		"service-accounts.key": accountsKey,
		"service-accounts.pub": encodePEM("PUBLIC KEY", accountsPublic),
	}
	for _, w := range c.wanted() {
		p, err := ca.issue(w.user, w.group, w.hosts...)
		if err != nil {
			return nil, err
		}
		if w.client {
			files[w.file+".conf"] = kubeconfig(ca.pair.cert, p)
		} else {
			files[w.file+".crt"], files[w.file+".key"] = p.cert, p.key
		}
	}
	return files, nil
}

// kubeconfig describes the cluster and one user of it, self-contained.
func kubeconfig(ca string, user pair) string {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster:
    server: https://%[2]s:%[3]d
    certificate-authority-data: %[4]s
users:
- name: %[1]s
  user:
    client-certificate-data: %[5]s
    client-key-data: %[6]s
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[1]s}
current-context: %[1]s
`, clusterName, bridgeAddr, apiPort, encode(ca), encode(user.cert), encode(user.key))
}
