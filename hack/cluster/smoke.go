//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	smokeNamespace      = "cluster-smoke"
	restrictedNamespace = "cluster-smoke-restricted"
)

// A smoke is one run of the proof that the cluster works.
type smoke struct {
	kubectl func(ctx context.Context, args ...string) (string, error)
	c       *cluster
	path    string // of the kubectl program
	dir     string // scratch
}

// smoke proves that the cluster can do what the tests of this project ask of one.
func (c *cluster) smoke(ctx context.Context) (err error) {
	parts, err := c.parts(ctx, "kubectl")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "cluster-smoke-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := smoke{c: c, path: parts["kubectl"], dir: dir, kubectl: func(ctx context.Context, args ...string) (string, error) {
		return c.kubectl(ctx, parts, args...)
	}}

	defer func() { err = errors.Join(err, s.cleanUp()) }()
	for _, check := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"two nodes are ready", s.nodesReady},
		{"pods run on both", s.podsRun},
		{"DNS answers on both", s.dns},
		{"pods reach each other across nodes", s.acrossNodes},
		{"pods and the host reach a Service", s.service},
		{"kubectl logs, exec, cp, port-forward", s.throughKubelet},
		{"a native sidecar serves a Job that completes", s.nativeSidecar},
		{"Pod Security admits and denies as it should", s.podSecurity},
	} {
		began := time.Now()
		if err := check.do(ctx); err != nil {
			return fmt.Errorf("smoke: %s: %w", check.what, err)
		}
		fmt.Printf("ok  %-46s %s\n", check.what, since(began))
	}
	return nil
}

func (s smoke) cleanUp() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience) // also when interrupted
	defer cancel()
	_, err := s.kubectl(ctx, "delete", "namespace", "--ignore-not-found", smokeNamespace, restrictedNamespace)
	return err
}

func (s smoke) nodesReady(ctx context.Context) error {
	args := []string{"wait", "--for=condition=Ready", "--timeout=30s"}
	for _, n := range s.c.nodes {
		args = append(args, "node/"+n.name)
	}
	_, err := s.kubectl(ctx, args...)
	return err
}

func (s smoke) podsRun(ctx context.Context) error {
	var names []string
	for _, n := range s.c.nodes {
		names = append(names, n.name)
	}
	manifest, err := render("smoke.yaml", map[string]any{"nodes": names, "image": busyboxImage})
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, "smoke.yaml")
	if err := writeFile(path, manifest, 0o644); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "apply", "-f", path); err != nil {
		return err
	}
	_, err = s.kubectl(ctx, "-n", smokeNamespace, "wait", "--for=condition=Ready", "--timeout=60s", "pod", "-l", "app=web")
	return err
}

// in runs a command in the web server of node.
func (s smoke) in(ctx context.Context, node string, argv ...string) (string, error) {
	return s.kubectl(ctx, append([]string{"-n", smokeNamespace, "exec", pod(node), "--"}, argv...)...)
}

func pod(node string) string { return "web-" + node }

func greeting(node string) string { return "hello from " + node + "\n" }

func expect(what, got, want string) error {
	if got != want {
		return fmt.Errorf("%s: got %q, want %q", what, got, want)
	}
	return nil
}

func (s smoke) dns(ctx context.Context) error {
	want, err := s.kubectl(ctx, "-n", smokeNamespace, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return err
	}
	for _, n := range s.c.nodes {
		out, err := s.in(ctx, n.name, "nslookup", "web."+smokeNamespace+".svc.cluster.local")
		if err != nil {
			return err
		}
		if !strings.Contains(out, want) {
			return fmt.Errorf("on %s: no %s in %q", n.name, want, out)
		}
	}
	return nil
}

func (s smoke) acrossNodes(ctx context.Context) error {
	for i, from := range s.c.nodes {
		to := s.c.nodes[(i+1)%len(s.c.nodes)]
		ip, err := s.kubectl(ctx, "-n", smokeNamespace, "get", "pod", pod(to.name), "-o", "jsonpath={.status.podIP}")
		if err != nil {
			return err
		}
		out, err := s.in(ctx, from.name, "timeout", "5", "wget", "-q", "-O", "-", "http://"+ip+":8080/")
		if err != nil {
			return err
		}
		if err := expect("from "+from.name, out, greeting(to.name)); err != nil {
			return err
		}
	}
	return nil
}

func (s smoke) service(ctx context.Context) error {
	for _, n := range s.c.nodes {
		// Endpoints are chosen at random; all nodes must be reachable through it.
		err := s.reachAll(ctx, "from "+n.name, func(ctx context.Context) (string, error) {
			return s.in(ctx, n.name, "timeout", "5", "wget", "-q", "-O", "-", "http://web/")
		})
		if err != nil {
			return err
		}
	}
	ip, err := s.kubectl(ctx, "-n", smokeNamespace, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return err
	}
	return s.reachAll(ctx, "from the host", func(ctx context.Context) (string, error) { return get(ctx, "http://"+ip+"/") })
}

// reachAll calls get until every node's server has answered.
func (s smoke) reachAll(ctx context.Context, what string, get func(context.Context) (string, error)) error {
	missing := map[string]bool{}
	for _, n := range s.c.nodes {
		missing[greeting(n.name)] = true
	}
	return eventually(ctx, what, 30*time.Second, func(ctx context.Context) error {
		answer, err := get(ctx)
		if err != nil {
			return err
		}
		delete(missing, answer)
		if len(missing) > 0 {
			return fmt.Errorf("%d servers not yet reached", len(missing))
		}
		return nil
	})
}

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	// A connection of its own for each request, and never through a proxy.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func (s smoke) throughKubelet(ctx context.Context) error {
	for _, n := range s.c.nodes {
		logs, err := s.kubectl(ctx, "-n", smokeNamespace, "logs", pod(n.name))
		if err != nil {
			return err
		}
		if err := expect("logs on "+n.name, logs, greeting(n.name)); err != nil {
			return err
		}
		if err := s.copyTwice(ctx, n.name); err != nil {
			return err
		}
		if err := s.portForward(ctx, n.name); err != nil {
			return err
		}
	}
	return nil
}

// copyTwice copies a file into the pod and back.
func (s smoke) copyTwice(ctx context.Context, node string) error {
	there, back := filepath.Join(s.dir, "there"), filepath.Join(s.dir, "back")
	if err := writeFile(there, "by way of "+node, 0o644); err != nil {
		return err
	}
	for _, paths := range [][2]string{{there, pod(node) + ":/tmp/copy"}, {pod(node) + ":/tmp/copy", back}} {
		if _, err := s.kubectl(ctx, "-n", smokeNamespace, "cp", paths[0], paths[1]); err != nil {
			return err
		}
	}
	content, err := os.ReadFile(back)
	if err != nil {
		return err
	}
	return expect("cp on "+node, string(content), "by way of "+node)
}

// portForward fetches the page through a port of this machine.
func (s smoke) portForward(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.path, "--kubeconfig", s.c.kubeconfig(),
		"-n", smokeNamespace, "port-forward", pod(node), ":8080")
	said, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // says only that it was killed
	}()

	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		return fmt.Errorf("port-forward on %s: %w", node, err)
	}
	var port int
	if _, err := fmt.Sscanf(line, "Forwarding from 127.0.0.1:%d", &port); err != nil {
		return fmt.Errorf("port-forward on %s said %q: %w", node, line, err)
	}
	page, err := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		return err
	}
	return expect("port-forward on "+node, page, greeting(node))
}

func (s smoke) nativeSidecar(ctx context.Context) error {
	_, err := s.kubectl(ctx, "-n", smokeNamespace, "wait", "--for=condition=Complete", "--timeout=60s", "job/sidecar")
	return err
}

func (s smoke) podSecurity(ctx context.Context) error {
	_, err := s.kubectl(ctx, "-n", restrictedNamespace, "run", "bold", "--image="+busyboxImage, "--privileged")
	if err == nil {
		return errors.New("a privileged pod was admitted into a restricted namespace")
	}
	if !strings.Contains(err.Error(), `violates PodSecurity "restricted`) {
		return err
	}
	_, err = s.kubectl(ctx, "-n", restrictedNamespace, "wait", "--for=condition=Ready", "--timeout=60s", "pod/modest")
	return err
}
