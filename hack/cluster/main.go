//go:build linux

// Program cluster runs a real Kubernetes cluster of two nodes on one Linux
// machine, without Docker and without a registry: one control plane on the host,
// and per node a network namespace with a containerd, a kubelet and a kube-proxy
// of its own. See README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

const usage = `usage: hack/cluster/COMMAND

  up              start the cluster, or repair it; prints the path of its kubeconfig
  down            stop it and remove all that it made
  smoke           prove that it works
  load-image TAR  import an image archive (OCI or Docker) into every node
  kubeconfig      print the path of its kubeconfig
  kubectl ...     kubectl, talking to it
`

func main() {
	tools := flag.String("tools", "hack/tools/get", "the script that prints the path of a part")
	dir := flag.String("dir", "", "where the cluster keeps all that it writes")
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *tools, *dir, flag.Arg(0), flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// run carries out one command; args[0] is its name.
func run(ctx context.Context, tools, dir, command string, args []string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	c := newCluster(dir, tools)

	switch command {
	case "kubeconfig":
		fmt.Println(c.kubeconfig())
		return nil
	case "kubectl":
		return c.execKubectl(ctx, args[1:])
	case "up", "down", "smoke", "load-image":
	default:
		fmt.Fprint(os.Stderr, usage)
		return fmt.Errorf("unknown command %q", command)
	}

	if os.Geteuid() != 0 {
		return fmt.Errorf("%s: must be root: it makes network namespaces and cgroups", command)
	}
	switch command {
	case "up":
		if err := c.locked(func() error { return c.up(ctx) }); err != nil {
			return fmt.Errorf("up: %w", err)
		}
		fmt.Println(c.kubeconfig())
		return nil
	case "down":
		return c.locked(func() error { return c.down(ctx) })
	case "smoke":
		return c.smoke(ctx)
	default: // load-image
		if len(args) != 2 {
			return fmt.Errorf("load-image: want the path of one image archive, have %d arguments", len(args)-1)
		}
		return c.loadImage(ctx, args[1])
	}
}

// execKubectl becomes kubectl.
func (c *cluster) execKubectl(ctx context.Context, args []string) error {
	parts, err := c.parts(ctx, "kubectl")
	if err != nil {
		return err
	}
	if err := os.Setenv("KUBECONFIG", c.kubeconfig()); err != nil {
		return err
	}
	return syscall.Exec(parts["kubectl"], append([]string{"kubectl"}, args...), os.Environ())
}
