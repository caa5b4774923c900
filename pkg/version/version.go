// Package version says which build this is.
package version

import (
	"runtime"
	"runtime/debug"
)

// version is set by the linker: -X github.com/minio-sidecar/minio-sidecar/pkg/version.version=v1.2.3
var version string

const unknown = "unknown"

// Info is one build.
type Info struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"` // "unknown" where the build had no checkout
	Go       string `json:"go"`
	Platform string `json:"platform"` // as in linux/amd64
}

// Get is this build: what the linker was told, else what the Go command
// recorded.
func Get() Info {
	build, _ := debug.ReadBuildInfo()
	return from(version, build)
}

// from puts the facts together; build may be nil.
func from(linked string, build *debug.BuildInfo) Info {
	info := Info{
		Version: linked, Commit: unknown,
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if build != nil {
		if info.Version == "" {
			info.Version = build.Main.Version
		}
		dirty := false
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				info.Commit = s.Value
			case "vcs.modified":
				dirty = s.Value == "true"
			}
		}
		if dirty && info.Commit != unknown {
			info.Commit += "-dirty"
		}
	}
	if info.Version == "" {
		info.Version = unknown
	}
	return info
}
