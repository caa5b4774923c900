//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStartTime(t *testing.T) {
	// From the third field on: state, then eighteen numbers, then the start time.
	rest := func(state string) string { return state + strings.Repeat(" 7", 18) + " 4711 9 9\n" }
	for name, test := range map[string]struct {
		stat, want string
		ok         bool
	}{
		"plain":                  {"12 (sleep) " + rest("S"), "4711", true},
		"parentheses and spaces": {"12 (a) R 1 (b c)) " + rest("R"), "4711", true},
		"zombie":                 {"12 (sleep) " + rest("Z"), "", false},
		"dead":                   {"12 (sleep) " + rest("X"), "", false},
		"cut short":              {"12 (sleep) S 1 2", "", false},
		"empty":                  {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := startTime(test.stat); got != test.want || ok != test.ok {
				t.Errorf("got %q, %v; want %q, %v", got, ok, test.want, test.ok)
			}
		})
	}
}

func TestSupervisor(t *testing.T) {
	dir := t.TempDir()
	s := supervisor{records: filepath.Join(dir, "records"), logs: filepath.Join(dir, "logs")}
	config := filepath.Join(dir, "config")
	p := process{name: "sleeper", argv: []string{"sleep", "600"}, files: map[string]string{config: "one"}}
	t.Cleanup(func() {
		if err := s.stop(p.name); err != nil {
			t.Error(err)
		}
	})
	start := func(p process) record {
		t.Helper()
		if err := s.ensure(p); err != nil {
			t.Fatal(err)
		}
		r, alive := s.running(p.name)
		if !alive {
			t.Fatal("it does not run")
		}
		return r
	}

	first := start(p)
	if again := start(p); again != first {
		t.Errorf("it was restarted without a reason: %v, then %v", first, again)
	}

	p.files[config] = "two"
	second := start(p)
	if second.PID == first.PID {
		t.Error("it was not restarted for another configuration")
	}
	if identity(first.PID) == first.Identity {
		t.Error("the first one still runs")
	}
	if content, err := os.ReadFile(config); err != nil || string(content) != "two" {
		t.Errorf("its configuration is %q, %v", content, err)
	}
	if names, err := s.names(); err != nil || !slices.Equal(names, []string{p.name}) {
		t.Errorf("names are %v, %v", names, err)
	}

	// Another process got the pid meanwhile: it must not be stopped.
	other := second
	other.Identity = "another boot/1"
	forget(t, s, p.name, other)
	if err := s.stop(p.name); err != nil {
		t.Fatal(err)
	}
	if identity(second.PID) != second.Identity {
		t.Fatal("a process with the pid, but not the identity of the record was stopped")
	}
	forget(t, s, p.name, second)
}

// forget makes the record of the process say r.
func forget(t *testing.T, s supervisor, name string, r record) {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(s.records, name), string(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCgroupVersion1(t *testing.T) {
	mount := t.TempDir()
	write(t, filepath.Join(mount, "cpuset", "cpuset.cpus"), "0-1\n")
	write(t, filepath.Join(mount, "cpuset", "cpuset.mems"), "0\n")
	for _, controller := range []string{"memory", "cpu,cpuacct"} {
		if err := os.Mkdir(filepath.Join(mount, controller), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("cpu,cpuacct", filepath.Join(mount, "cpu")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be there already
		if err := makeCgroup(mount, "top/node"); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"cpuset/top/cpuset.cpus": "0-1\n", "cpuset/top/node/cpuset.cpus": "0-1\n", "cpuset/top/node/cpuset.mems": "0\n",
	} {
		if got, err := os.ReadFile(filepath.Join(mount, path)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", path, got, err, want)
		}
	}
	var visited []string
	err := descend(mount, "top", func(dir string) error {
		visited = append(visited, strings.TrimPrefix(dir, mount+"/"))
		return nil
	})
	want := []string{"cpu,cpuacct/top/node", "cpu,cpuacct/top", "cpuset/top/node", "cpuset/top", "memory/top/node", "memory/top"}
	if err != nil || !slices.Equal(visited, want) {
		t.Errorf("descend visited %v, %v; want %v", visited, err, want)
	}
}

func TestCgroupVersion2(t *testing.T) {
	mount := t.TempDir()
	// The kernel would make these files with the folders.
	for _, dir := range []string{"", "top", "top/node"} {
		write(t, filepath.Join(mount, dir, "cgroup.controllers"), "cpu memory rdma\n")
	}
	if err := makeCgroup(mount, "top/node"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", "top", "top/node"} {
		// A write replaces the last one here, where the kernel would add to it.
		got, err := os.ReadFile(filepath.Join(mount, dir, "cgroup.subtree_control"))
		if err != nil || string(got) != "+memory" {
			t.Errorf("%q was told %q, %v", dir, got, err)
		}
	}
}

func TestCgroupNothingMounted(t *testing.T) {
	if err := makeCgroup(t.TempDir(), "top"); err == nil {
		t.Error("no error")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := writeFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestMountsBelow(t *testing.T) {
	const mountinfo = `22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:5 / /run/c rw shared:1 - tmpfs tmpfs rw
31 30 0:6 / /run/c/node/pods rw - tmpfs tmpfs rw
32 31 0:6 / /run/c/node/pods/with\040space rw - tmpfs tmpfs rw
33 22 0:7 / /run/cat rw - tmpfs tmpfs rw
short
`
	want := []string{"/run/c/node/pods/with space", "/run/c/node/pods"}
	if got := mountsBelow(mountinfo, "/run/c"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWithoutLoopback(t *testing.T) {
	const conf = "# by hand\nsearch example.org\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver ::1\nnameserver 2001:db8::1\n"
	if got, want := withoutLoopback(conf), "nameserver 192.0.2.1\nnameserver 2001:db8::1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// certificate parses PEM.
func certificate(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no PEM in %q", text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCertificates(t *testing.T) {
	c := newCluster(t.TempDir(), "")
	files, err := c.issueAll()
	if err != nil {
		t.Fatal(err)
	}
	roots, front := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(certificate(t, files["ca.crt"]))
	front.AddCert(certificate(t, files["front-proxy-ca.crt"]))
	for _, test := range []struct {
		file, host string
		roots      *x509.CertPool
		usage      x509.ExtKeyUsage
	}{
		{"apiserver.crt", bridgeAddr, roots, x509.ExtKeyUsageServerAuth},
		{"apiserver.crt", serviceIP, roots, x509.ExtKeyUsageServerAuth},
		{"apiserver.crt", "kubernetes.default.svc", roots, x509.ExtKeyUsageServerAuth},
		{"node-2-serving.crt", "172.30.0.12", roots, x509.ExtKeyUsageServerAuth},
		{"apiserver-kubelet.crt", "", roots, x509.ExtKeyUsageClientAuth},
		{"front-proxy.crt", "", front, x509.ExtKeyUsageClientAuth},
	} {
		options := x509.VerifyOptions{Roots: test.roots, DNSName: test.host, KeyUsages: []x509.ExtKeyUsage{test.usage}}
		if _, err := certificate(t, files[test.file]).Verify(options); err != nil {
			t.Errorf("%s for %q: %v", test.file, test.host, err)
		}
	}
	if _, err := certificate(t, files["front-proxy.crt"]).Verify(x509.VerifyOptions{
		Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err == nil {
		t.Error("the cluster's authority vouches for the front proxy")
	}
}

func TestTemplates(t *testing.T) {
	c := newCluster(t.TempDir(), "")
	for _, n := range c.nodes {
		files, err := c.configuration(n, map[string]string{
			"containerd.toml": "1", "cni.conflist": "2", "kubelet.yaml": "3", "kube-proxy.yaml": "4",
		})
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid([]byte(files["2"])) {
			t.Errorf("cni.conflist is not JSON: %s", files["2"])
		}
		if want := "cgroupRoot: /minio-sidecar/" + n.name + "\n"; !strings.Contains(files["3"], want) {
			t.Errorf("kubelet.yaml of %s lacks %q", n.name, want)
		}
	}
	for _, upstream := range []bool{true, false} {
		out, err := render("coredns.yaml", map[string]any{"dnsIP": dnsIP, "image": coreDNSImage, "upstream": upstream})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out, "forward .") != upstream {
			t.Errorf("with upstream %v: %s", upstream, out)
		}
	}
	if _, err := render("coredns.yaml", map[string]any{}); err == nil {
		t.Error("a value that is missing is no error")
	}
}

func TestImageArchive(t *testing.T) {
	img := busybox([]byte("program"), []string{"[", "busybox", "sh"})
	data, err := img.archive()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := img.archive(); err != nil || !bytes.Equal(data, again) {
		t.Errorf("a second archive differs, %v", err)
	}

	files := untar(t, data)
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || !slices.Equal(manifest[0].RepoTags, []string{busyboxImage}) || len(manifest[0].Layers) != 1 {
		t.Fatalf("manifest %+v", manifest)
	}
	layer := files[manifest[0].Layers[0]]
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(files[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	if want := []string{"sha256:" + digest(layer)}; !slices.Equal(config.RootFS.DiffIDs, want) {
		t.Errorf("diff_ids are %v, want %v", config.RootFS.DiffIDs, want)
	}
	root := untar(t, layer)
	if got := string(root["bin/busybox"]); got != "program" {
		t.Errorf("bin/busybox is %q", got)
	}
	if _, ok := root["bin/sh"]; !ok {
		t.Error("bin/sh is missing")
	}
}

func untar(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = content
	}
}

func TestEventually(t *testing.T) {
	broken := errors.New("broken")
	t.Run("succeeds at the third try", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := eventually(t.Context(), "it", time.Second, func(context.Context) error {
				if tries++; tries < 3 {
					return broken
				}
				return nil
			})
			if err != nil || tries != 3 {
				t.Errorf("%d tries, %v", tries, err)
			}
		})
	})
	t.Run("tells the last error when the time is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			err := eventually(t.Context(), "it", time.Second, func(context.Context) error { return broken })
			if !errors.Is(err, broken) || time.Since(began) != time.Second {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		})
	})
	t.Run("gives up at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			err := eventually(t.Context(), "it", time.Second, func(context.Context) error {
				return fmt.Errorf("%w: %w", broken, errStop)
			})
			if !errors.Is(err, broken) || time.Since(began) != 0 {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		})
	})
	t.Run("says that it was interrupted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			err := eventually(ctx, "it", time.Second, func(context.Context) error { cancel(); return broken })
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	})
}
