package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/minio-sidecar/minio-sidecar"

// goPackage is what `go list -json` says of a package, as far as needed here.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string // of its files without tests
}

// list runs `go list` with args.
func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	command := exec.Command("go", append([]string{"list", "-json=ImportPath,Standard,Imports"}, args...)...)
	command.Dir = root
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list %s: %v", strings.Join(args, " "), err)
		}
		packages = append(packages, p)
	}
}

// within reports whether path is folder or below it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// TestLinked looks at everything that a program links, through others too.
func TestLinked(t *testing.T) {
	tests := []struct {
		program string
		never   []string
	}{
		{"cmd/syncer", []string{"k8s.io", "sigs.k8s.io", module + "/webhook"}},
		{"cmd/webhook", []string{module + "/syncer", "github.com/minio/minio-go"}},
	}
	for _, tt := range tests {
		t.Run(tt.program, func(t *testing.T) {
			for _, p := range list(t, "-deps", "./"+tt.program) {
				for _, folder := range tt.never {
					if within(p.ImportPath, folder) {
						t.Errorf("%s links %s; nothing of %s may be in it", tt.program, p.ImportPath, folder)
					}
				}
			}
		})
	}
}

// TestImports looks at what the project's own packages import themselves.
func TestImports(t *testing.T) {
	packages := list(t, "./...")
	// A rule about packages that are not there would hold for ever.
	for _, name := range []string{"pkg/contract", "syncer/plan", "syncer/store/s3", "webhook/inject"} {
		if !slices.ContainsFunc(packages, func(p goPackage) bool { return p.ImportPath == module+"/"+name }) {
			t.Errorf("there is no package %s: correct the rules", name)
		}
	}
	// The cores decide; they never read, write or wait.
	pure := []string{"syncer/plan", "syncer/entry", "syncer/status", "webhook/inject"}
	outside := []string{"io/fs", "log", "net", "os", "syscall", "golang.org/x/sys", "k8s.io/client-go", "sigs.k8s.io/controller-runtime"}
	standard := map[string]bool{}
	for _, p := range list(t, "std") {
		standard[p.ImportPath] = true
	}

	for _, p := range packages {
		own := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, i := range p.Imports {
			switch {
			case slices.Contains(pure, own) && i != "net/url" && i != "net/netip" &&
				slices.ContainsFunc(outside, func(folder string) bool { return within(i, folder) }):
				t.Errorf("%s imports %s; it does no I/O", own, i)
			case own == "pkg/contract" && !standard[i]:
				t.Errorf("pkg/contract imports %s; it may import the standard library only", i)
			case strings.HasPrefix(i, "github.com/minio/minio-go") && own != "syncer/store/s3" && !within(own, "internal"):
				t.Errorf("%s imports %s; only syncer/store/s3 may", own, i)
			case within(own, "syncer") && within(i, module+"/webhook"),
				within(own, "webhook") && within(i, module+"/syncer"):
				t.Errorf("%s imports %s; webhook and syncer meet in pkg/contract only", own, i)
			case within(own, "pkg") && (within(i, module+"/webhook") || within(i, module+"/syncer")),
				!within(own, "cmd") && within(i, module+"/cmd"):
				t.Errorf("%s imports %s; imports go down only", own, i)
			}
		}
	}
}
