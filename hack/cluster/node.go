//go:build linux

package main

import (
	"embed"
	"fmt"
	"strings"
	"syscall"
	"text/template"
)

//go:embed files
var files embed.FS

// render fills in the template of this name in files/.
func render(name string, data any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(files, "files/"+name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", err
	}
	return b.String(), nil
}

// configuration renders templates into files of the node: path by template name.
func (c *cluster) configuration(n node, paths map[string]string) (map[string]string, error) {
	data := map[string]any{
		"node":        n.name,
		"ip":          n.ip,
		"podCIDR":     n.podCIDR,
		"podSubnet":   podSubnet,
		"dnsIP":       dnsIP,
		"cgroup":      "/" + n.cgroup,
		"dir":         n.dir,
		"socket":      n.socket(),
		"pki":         c.pki(""),
		"pauseImage":  pauseImage,
		"snapshotter": snapshotter(c.dir),
		"cniPlugins":  cniPlugins,
	}
	rendered := map[string]string{}
	for name, path := range paths {
		content, err := render(name, data)
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", name, n.name, err)
		}
		rendered[path] = content
	}
	return rendered, nil
}

// snapshotter is how containerd lays the layers of an image over each other in
// dir: an overlay, or plain copies where the kernel allows no overlay because dir
// is on one itself, as inside most containers.
func snapshotter(dir string) string {
	const overlay = 0x794c7630 // OVERLAYFS_SUPER_MAGIC
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil && fs.Type == overlay {
		return "native"
	}
	return "overlayfs"
}

func (c *cluster) containerd(n node) (process, error) {
	config := n.path("containerd.toml")
	files, err := c.configuration(n, map[string]string{
		"containerd.toml": config,
		"cni.conflist":    n.path("cni", "10-bridge.conflist"),
	})
	return process{
		name:  "containerd-" + n.name,
		argv:  n.inside("containerd", "--config="+config),
		files: files,
	}, err
}

func (c *cluster) kubelet(n node, parts map[string]string) (process, error) {
	config := n.path("kubelet.yaml")
	files, err := c.configuration(n, map[string]string{"kubelet.yaml": config})
	if err != nil {
		return process{}, err
	}
	files[n.path("resolv.conf")], err = resolvConf()
	return process{
		name: "kubelet-" + n.name,
		argv: n.inside(parts["kubelet"],
			"--config="+config,
			"--kubeconfig="+c.pki(n.name+".conf"),
			"--hostname-override="+n.name,
			"--node-ip="+n.ip,
			"--root-dir="+n.path("kubelet"),
			"--cert-dir="+n.path("kubelet-pki"),
		),
		files: files,
	}, err
}

func (c *cluster) kubeProxy(n node, parts map[string]string) (process, error) {
	config := n.path("kube-proxy.yaml")
	files, err := c.configuration(n, map[string]string{"kube-proxy.yaml": config})
	return process{
		name:  "kube-proxy-" + n.name,
		argv:  n.inside(parts["kube-proxy"], "--config="+config),
		files: files,
	}, err
}
