//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Each part of the start is given this long, on a slow machine that also builds
// something else.
const patience = 90 * time.Second

func (c *cluster) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "cluster: "+format+"\n", args...)
}

// locked runs f while no other up or down runs.
func (c *cluster) locked(f func() error) error {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return f()
}

// parts returns the paths of built parts by name, building what is missing.
func (c *cluster) parts(ctx context.Context, names ...string) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, c.tools, names...)
	cmd.Stderr = os.Stderr // it may take minutes, and says so
	paths, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", strings.Join(names, " "), err)
	}
	list := strings.Fields(string(paths))
	if len(list) != len(names) {
		return nil, fmt.Errorf("get %s: printed %d paths", strings.Join(names, " "), len(list))
	}
	parts := map[string]string{}
	for i, name := range names {
		parts[name] = list[i]
	}
	return parts, nil
}

// eachNode calls f for all nodes at once.
func (c *cluster) eachNode(f func(node) error) error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() { errs[i] = f(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// A plan is all processes of the cluster, in the order in which they start.
type plan struct {
	parts   map[string]string
	control []process // etcd and API server first
	runtime []process // a containerd for each node
	agents  []process // a kubelet and a kube-proxy for each node
}

func (p plan) all() []process { return slices.Concat(p.control, p.runtime, p.agents) }

func (c *cluster) plan(ctx context.Context) (plan, error) {
	parts, err := c.parts(ctx, "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler",
		"kubelet", "kube-proxy", "kubectl", "coredns")
	if err != nil {
		return plan{}, err
	}
	p := plan{parts: parts, control: []process{
		c.etcd(parts), c.apiServer(parts), c.controllerManager(parts), c.scheduler(parts),
	}}
	for _, n := range c.nodes {
		runtime, err1 := c.containerd(n)
		kubelet, err2 := c.kubelet(n, parts)
		proxy, err3 := c.kubeProxy(n, parts)
		if err := errors.Join(err1, err2, err3); err != nil {
			return plan{}, err
		}
		p.runtime = append(p.runtime, runtime)
		p.agents = append(p.agents, kubelet, proxy)
	}
	return p, nil
}

// up brings the cluster up from whatever state it is in: nothing to do when it is
// healthy; what died is started again; and where that does not help, as after the
// machine was restarted, it is made anew.
func (c *cluster) up(ctx context.Context) error {
	began := time.Now()
	if err := c.installPackages(ctx); err != nil {
		return err
	}
	p, err := c.plan(ctx)
	if err != nil {
		return err
	}
	if c.complete(p) && c.healthy(ctx, p) == nil {
		c.say("is up already")
		return nil
	}

	if _, err := os.Stat(c.state); err == nil && c.networkUp() {
		c.say("repairing")
		err := c.converge(ctx, p)
		if err == nil {
			c.say("repaired in %s", since(began))
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		c.say("could not be repaired, so it is made anew: %v", err)
	}
	if err := c.down(ctx); err != nil {
		return fmt.Errorf("remove what is left of an earlier one: %w", err)
	}
	if err := os.RemoveAll(c.logs); err != nil {
		return err
	}
	if err := c.converge(ctx, p); err != nil {
		return err
	}
	c.say("up in %s", since(began))
	return nil
}

func since(t time.Time) time.Duration { return time.Since(t).Round(100 * time.Millisecond) }

// complete says whether all processes run, as they would be started now.
func (c *cluster) complete(p plan) bool {
	return c.networkUp() && !slices.ContainsFunc(p.all(), func(p process) bool { return !c.procs.upToDate(p) })
}

// converge makes and starts what is not there. It may be called in any state.
func (c *cluster) converge(ctx context.Context, p plan) error {
	for _, step := range []struct {
		what string
		do   func(context.Context, plan) error
	}{
		{"prepare the kernel", func(ctx context.Context, _ plan) error { return c.prepareKernel(ctx) }},
		{"make the network", func(ctx context.Context, _ plan) error { return c.ensureNetwork(ctx) }},
		{"make control groups", func(context.Context, plan) error { return c.makeCgroups() }},
		{"make keys", func(context.Context, plan) error { return c.ensurePKI() }},
		{"start the control plane and containerd", c.startControlPlane},
		{"start the nodes", c.startNodes},
		{"deploy CoreDNS", c.deployCoreDNS},
		{"wait for the nodes and CoreDNS", c.waitReady},
	} {
		began := time.Now()
		if err := step.do(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		c.say("%-40s %s", step.what, since(began))
	}
	return nil
}

func (c *cluster) makeCgroups() error {
	for _, n := range c.nodes {
		if err := makeCgroup(cgroupMount, n.cgroup); err != nil {
			return err
		}
	}
	return nil
}

// startControlPlane starts all that needs no API server, and then what does.
// Meanwhile every containerd gets its images.
func (c *cluster) startControlPlane(ctx context.Context, p plan) error {
	admin, err := os.ReadFile(c.pki("admin.conf"))
	if err != nil {
		return err
	}
	if err := writeFile(c.kubeconfig(), string(admin), 0o600); err != nil {
		return err
	}
	early, late := p.control[:2], p.control[2:]
	if err := c.ensureAll(slices.Concat(p.runtime, early)); err != nil {
		return err
	}
	imported := make(chan error, 1)
	go func() { imported <- c.importImages(ctx, p) }()

	err = eventually(ctx, "API server", patience, func(ctx context.Context) error {
		if err := c.alive(early); err != nil {
			return err
		}
		_, err := c.kubectl(ctx, p.parts, "get", "--raw", "/readyz")
		return err
	})
	if err == nil {
		err = c.ensureAll(late)
	}
	return errors.Join(err, <-imported)
}

func (c *cluster) ensureAll(ps []process) error {
	for _, p := range ps {
		if err := c.procs.ensure(p); err != nil {
			return err
		}
	}
	return nil
}

// alive returns an error with the end of the log of the first process that died.
func (c *cluster) alive(ps []process) error {
	for _, p := range ps {
		if _, alive := c.procs.running(p.name); alive {
			continue
		}
		path := c.procs.logOf(p.name)
		log, _ := os.ReadFile(path)
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		tail := lines[max(0, len(lines)-5):]
		return fmt.Errorf("%s ended (%w); the end of %s:\n%s", p.name, errStop, path, strings.Join(tail, "\n"))
	}
	return nil
}

func (c *cluster) importImages(ctx context.Context, p plan) error {
	archives, err := c.makeImages(ctx, p.parts)
	if err != nil {
		return err
	}
	return c.eachNode(func(n node) error {
		for _, archive := range archives {
			err := eventually(ctx, "import images into "+n.name, patience, func(ctx context.Context) error {
				if err := c.alive(p.runtime); err != nil {
					return err
				}
				_, err := n.importImage(ctx, archive)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *cluster) startNodes(_ context.Context, p plan) error { return c.ensureAll(p.agents) }

func (c *cluster) deployCoreDNS(ctx context.Context, p plan) error {
	upstream, err := resolvConf()
	if err != nil {
		return err
	}
	manifest, err := render("coredns.yaml", map[string]any{
		"dnsIP": dnsIP, "image": coreDNSImage, "upstream": upstream != "",
	})
	if err != nil {
		return err
	}
	path := c.path("coredns.yaml")
	if err := writeFile(path, manifest, 0o644); err != nil {
		return err
	}
	return eventually(ctx, "kubectl apply", patience, func(ctx context.Context) error {
		_, err := c.kubectl(ctx, p.parts, "apply", "-f", path)
		return err
	})
}

func (c *cluster) waitReady(ctx context.Context, p plan) error {
	return eventually(ctx, "cluster", patience, func(ctx context.Context) error {
		if err := c.alive(p.all()); err != nil {
			return err
		}
		return c.healthy(ctx, p)
	})
}

// healthy asks the API server whether all nodes are ready and DNS is served, and
// through it the kubelets themselves: for a while, a node that died still counts
// as ready.
func (c *cluster) healthy(ctx context.Context, p plan) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	const ready = `{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status} {end}`
	out, err := c.kubectl(ctx, p.parts, "get", "nodes", "-o", "jsonpath="+ready)
	if err != nil {
		return err
	}
	if got := strings.Count(out, " True "); got != len(c.nodes) {
		return fmt.Errorf("%d of %d nodes are ready: %s", got, len(c.nodes), out)
	}
	for _, n := range c.nodes {
		if _, err := c.kubectl(ctx, p.parts, "get", "--raw", "/api/v1/nodes/"+n.name+"/proxy/healthz"); err != nil {
			return err
		}
	}
	out, err = c.kubectl(ctx, p.parts, "-n", "kube-system", "get", "deployment", "coredns",
		"-o", "jsonpath={.status.readyReplicas}")
	if err != nil {
		return err
	}
	if out == "" {
		return errors.New("CoreDNS is not ready (kubectl -n kube-system describe pods)")
	}
	return nil
}

// kubectl runs kubectl as the cluster's administrator and returns what it printed.
func (c *cluster) kubectl(ctx context.Context, parts map[string]string, args ...string) (string, error) {
	argv := []string{parts["kubectl"], "--kubeconfig=" + c.kubeconfig(), "--cache-dir=" + c.path("kubectl-cache")}
	return output(ctx, append(argv, args...)...)
}
