// Package images tests how images reach a registry.
package images

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// Whoever pulls the one tag gets the image of its own platform, and no archive
// of another version slips in.
func TestPush(t *testing.T) {
	crane := testenv.Tool(t, "crane")
	registry := serve(t, crane)
	archives := t.TempDir()
	for _, name := range []string{"webhook", "syncer"} {
		for file, platform := range platforms {
			archive(t, filepath.Join(archives, name+"-"+file+".tar"), name+":v1.2.3", platform)
		}
	}
	push := func(version string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "./push")
		cmd.Env = append(os.Environ(), "REGISTRY="+registry+"/team", "VERSION="+version, "IMAGES="+archives)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	if said, err := push("v1.2.4"); err == nil || !strings.Contains(said, "is not minio-sidecar/webhook:v1.2.4") {
		t.Errorf("archives of v1.2.3 as v1.2.4: error %v, said: %s", err, said)
	}
	if left := run(t, crane, "catalog", registry); left != "" {
		t.Errorf("the refused push left %s", left)
	}
	for range 2 { // to push again is no mistake
		if said, err := push("v1.2.3"); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
	}
	for _, name := range []string{"webhook", "syncer"} {
		image := registry + "/team/" + name + ":v1.2.3"
		var index struct {
			Manifests []struct {
				Digest   string
				Platform platform
			}
		}
		if err := json.Unmarshal([]byte(run(t, crane, "manifest", image)), &index); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range index.Manifests {
			got = append(got, m.Platform.String())
		}
		slices.Sort(got)
		if want := []string{"linux/amd64", "linux/arm/v7", "linux/arm64"}; !slices.Equal(got, want) {
			t.Errorf("%s is for %v, want %v", image, got, want)
		}
		for _, p := range platforms {
			said := run(t, crane, "export", "--platform", p.String(), image, "-")
			if !strings.Contains(said, "the program for "+p.String()) {
				t.Errorf("%s on %s is another image", image, p)
			}
		}
	}
}

// As it is found in an image's configuration and in an index.
type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

func (p platform) String() string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// By the word that archives are named with.
var platforms = map[string]platform{
	"amd64": {OS: "linux", Architecture: "amd64"},
	"arm64": {OS: "linux", Architecture: "arm64"},
	"armv7": {OS: "linux", Architecture: "arm", Variant: "v7"},
}

// archive writes an image of one small file, in the form of "docker save".
func archive(t *testing.T, path, name string, p platform) {
	t.Helper()
	digest := func(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }
	encode := func(v any) []byte {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	layer := tarOf(t, "program", []byte("the program for "+p.String()))
	config := encode(map[string]any{
		"os": p.OS, "architecture": p.Architecture, "variant": p.Variant,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	manifest := encode([]map[string]any{{
		"Config": digest(config) + ".json", "RepoTags": []string{"docker.io/minio-sidecar/" + name}, "Layers": []string{"layer.tar"},
	}})
	whole := tarOf(t, digest(config)+".json", config, "layer.tar", layer, "manifest.json", manifest)
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
}

// tarOf is an archive of files, given as names and contents in turn.
func tarOf(t *testing.T, files ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		content := files[i+1].([]byte)
		if err := w.WriteHeader(&tar.Header{Name: files[i].(string), Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// serve starts a registry on loopback that ends with the test.
func serve(t *testing.T, crane string) (address string) {
	t.Helper()
	// If this test is killed, so is the registry: the kernel ties that to the
	// thread that started it.
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	cmd := exec.CommandContext(t.Context(), crane, "registry", "serve", "--address", "127.0.0.1:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // its context has ended by then
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if _, port, found := strings.Cut(lines.Text(), "serving on port "); found {
			go func() { _, _ = io.Copy(io.Discard, said) }()
			return "127.0.0.1:" + port
		}
	}
	t.Fatalf("the registry did not start: %v", lines.Err())
	return ""
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}
