//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// The images that every node has from the start. All are made here, out of this
// machine's own busybox and of what was built: no registry is asked.
const (
	pauseImage   = "minio-sidecar.local/pause:1"
	coreDNSImage = "minio-sidecar.local/coredns:1"
	// The name that manifests use for it everywhere, so that the same ones work on
	// a cluster that pulls it.
	busyboxImage = "docker.io/library/busybox:stable"
)

// An image of one layer, for this machine's architecture.
type image struct {
	names      []string
	entrypoint []string
	command    []string
	files      []imageFile
}

type imageFile struct {
	path    string // relative to the root
	mode    int64
	content []byte // of a regular file
	target  string // of a symbolic link
	dir     bool
}

// busybox is an image of the static busybox at path, whose applets are names.
func busybox(binary []byte, applets []string) image {
	img := image{
		names:   []string{busyboxImage},
		command: []string{"sh"},
		files: []imageFile{
			{path: "bin", mode: 0o755, dir: true},
			{path: "bin/busybox", mode: 0o755, content: binary},
			{path: "etc", mode: 0o755, dir: true},
			{path: "etc/passwd", mode: 0o644, content: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")},
			{path: "etc/group", mode: 0o644, content: []byte("root:x:0:\nnobody:x:65534:\n")},
			{path: "root", mode: 0o700, dir: true},
			{path: "tmp", mode: 0o1777, dir: true},
		},
	}
	for _, applet := range applets {
		if applet != "busybox" {
			img.files = append(img.files, imageFile{path: "bin/" + applet, mode: 0o777, target: "busybox"})
		}
	}
	return img
}

// pause is an image of the process that holds a pod's namespaces. A shell will
// do: it also reaps orphans, for pods that share one process namespace.
func pause(binary []byte) image {
	return image{
		names: []string{pauseImage},
		entrypoint: []string{"/busybox", "sh", "-c",
			"trap 'exit 0' TERM INT; while :; do /busybox sleep 2147483647 & wait $!; done"},
		files: []imageFile{{path: "busybox", mode: 0o755, content: binary}},
	}
}

func coreDNS(binary []byte) image {
	return image{
		names:      []string{coreDNSImage},
		entrypoint: []string{"/coredns"},
		files:      []imageFile{{path: "coredns", mode: 0o755, content: binary}},
	}
}

// archive writes the image in the form of "docker save" (manifest.json, the
// configuration and the layer). The same image gives the same bytes. Files are
// named by their content, because containerd resumes an interrupted import by name.
func (img image) archive() ([]byte, error) {
	layer, err := img.layer()
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": img.entrypoint, "Cmd": img.command, "Env": []string{"PATH=/bin"}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]map[string]any{{
		"Config": digest(config) + ".json", "RepoTags": img.names, "Layers": []string{digest(layer) + ".tar"},
	}})
	if err != nil {
		return nil, err
	}
	return tarball([]imageFile{
		{path: digest(config) + ".json", mode: 0o644, content: config},
		{path: digest(layer) + ".tar", mode: 0o644, content: layer},
		{path: "manifest.json", mode: 0o644, content: manifest},
	})
}

func (img image) layer() ([]byte, error) { return tarball(img.files) }

func tarball(files []imageFile) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Name: f.path, Mode: f.mode, Typeflag: tar.TypeReg, Size: int64(len(f.content)), ModTime: time.Unix(0, 0)}
		switch {
		case f.dir:
			header.Typeflag = tar.TypeDir
		case f.target != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.target
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// makeImages writes the archives of all images and returns their paths.
func (c *cluster) makeImages(ctx context.Context, parts map[string]string) ([]string, error) {
	box, err := os.ReadFile(busyboxPath)
	if err != nil {
		return nil, err
	}
	applets, err := output(ctx, busyboxPath, "--list")
	if err != nil {
		return nil, err
	}
	dns, err := os.ReadFile(parts["coredns"])
	if err != nil {
		return nil, err
	}
	var paths []string
	for name, img := range map[string]image{
		"busybox": busybox(box, strings.Fields(applets)),
		"pause":   pause(box),
		"coredns": coreDNS(dns),
	} {
		data, err := img.archive()
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", name, err)
		}
		path := c.path("images", name+".tar")
		if err := writeFile(path, string(data), 0o644); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// importImage hands an archive to the node's containerd.
func (n node) importImage(ctx context.Context, path string) (string, error) {
	return output(ctx, "ctr", "--address", n.socket(), "--namespace", "k8s.io", "images", "import", path)
}

// loadImage imports the archive at path into every node.
func (c *cluster) loadImage(ctx context.Context, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("load-image: %w", err)
	}
	return c.eachNode(func(n node) error {
		said, err := n.importImage(ctx, path)
		if err != nil {
			return fmt.Errorf("load-image %s into %s: %w", path, n.name, err)
		}
		for line := range strings.Lines(said) {
			fmt.Printf("%s: %s\n", n.name, strings.TrimSpace(line))
		}
		return nil
	})
}
