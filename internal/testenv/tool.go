package testenv

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Tool is the path of one of the real parts that hack/tools pins. It is built
// on first use, which takes minutes.
func Tool(t testing.TB, name string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(ModuleRoot(t), "hack", "tools", "get"), name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("get %s: %v\n%s", name, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// ModuleRoot is the folder that holds go.mod, above the folder in which the
// test runs.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "hack", "tools", "get")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("hack/tools/get not found in any folder above the test's")
		}
		dir = up
	}
}
