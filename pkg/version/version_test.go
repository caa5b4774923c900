package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestFrom(t *testing.T) {
	build := func(main string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: main}, Settings: settings}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "abc"}
	for name, c := range map[string]struct {
		linked          string
		build           *debug.BuildInfo
		version, commit string
	}{
		"nothing known":     {"", nil, "unknown", "unknown"},
		"linker wins":       {"v2", build("v1", revision), "v2", "abc"},
		"module version":    {"", build("v1"), "v1", "unknown"},
		"modified checkout": {"v2", build("", revision, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "v2", "abc-dirty"},
		"clean checkout":    {"v2", build("", revision, debug.BuildSetting{Key: "vcs.modified", Value: "false"}), "v2", "abc"},
	} {
		t.Run(name, func(t *testing.T) {
			want := Info{c.version, c.commit, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if got := from(c.linked, c.build); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	if Get().Version == "" {
		t.Error("this build has no version at all")
	}
}
