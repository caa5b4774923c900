package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

func TestStateDir(t *testing.T) {
	cache := func() (string, error) { return "/cache", nil }
	find := func(change func(*settings)) string {
		t.Helper()
		s := settings{path: "/data", bucket: "abc", endpoint: "http://a"}
		change(&s)
		dir, err := s.findStateDir(cache)
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := find(func(*settings) {})
	if !strings.HasPrefix(first, "/cache/minio-sidecar/") {
		t.Errorf("got %s", first)
	}
	if again := find(func(*settings) {}); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	seen := map[string]string{first: "the first"}
	for name, change := range map[string]func(*settings){
		"path":     func(s *settings) { s.path = "/data2" },
		"bucket":   func(s *settings) { s.bucket = "abd" },
		"prefix":   func(s *settings) { s.prefix = "p/" },
		"endpoint": func(s *settings) { s.endpoint = "http://b" },
		"shifted":  func(s *settings) { s.path, s.endpoint = "/dat", "ahttp://a" },
	} {
		dir := find(change)
		if other := seen[dir]; other != "" {
			t.Errorf("another %s shares the state of %s", name, other)
		}
		seen[dir] = name
	}
	working, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := find(func(s *settings) { s.path = "x" }), find(func(s *settings) { s.path = working + "/x" }); got != want {
		t.Errorf("a relative path has another state: %s, %s", got, want)
	}
	if got := find(func(s *settings) { s.stateDir = "x" }); got != working+"/x" {
		t.Errorf("got %s", got)
	}

	for name, c := range map[string]struct {
		settings settings
		cache    func() (string, error)
	}{
		"nothing said": {settings{}, cache},
		"no bucket":    {settings{path: "/data", endpoint: "http://a"}, cache},
		"no home":      {settings{path: "/data", bucket: "abc", endpoint: "http://a"}, func() (string, error) { return "", errors.New("no $HOME") }},
	} {
		_, err := c.settings.findStateDir(c.cache)
		if bad, ok := errors.AsType[*badSetting](err); !ok || bad.flag != contract.FlagStateDir {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestFoldersAreApart(t *testing.T) {
	dir := t.TempDir()
	volume := filepath.Join(dir, "volume")
	if err := os.Mkdir(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(volume, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for inner, want := range map[string]bool{
		"volume":            true,
		"volume/a/b":        true,
		"volume/../volume":  true,
		"link":              true,
		"link/not/there":    true,
		"volume2":           false,
		"volume..":          false,
		"volume/../other":   false,
		".":                 false,
		"not/there/at/all":  false,
		"link/../volumes/a": false,
	} {
		got, err := contains(volume, filepath.Join(dir, inner))
		if err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", inner, got, err, want)
		}
	}
	if got, err := contains(filepath.Join(dir, "link"), filepath.Join(volume, "x")); err != nil || !got {
		t.Errorf("through a link: %v, %v", got, err)
	}

	s := settings{path: volume, credentialsDir: filepath.Join(volume, "keys")}
	err := s.prepareFolders(filepath.Join(dir, "state"), false)
	if bad, ok := errors.AsType[*badSetting](err); !ok || bad.flag != contract.FlagCredentialsDir {
		t.Errorf("keys in the volume: %v", err)
	}
	s.credentialsDir = ""
	err = s.prepareFolders(filepath.Join(volume, "state"), false)
	if bad, ok := errors.AsType[*badSetting](err); !ok || bad.flag != contract.FlagStateDir {
		t.Errorf("state in the volume: %v", err)
	}
	if _, err := os.Stat(filepath.Join(volume, "state")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made nevertheless: %v", err)
	}
	s.path = filepath.Join(dir, "new", "volume")
	if err := s.prepareFolders(filepath.Join(dir, "new", "state"), true); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "new", "state")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("state: %v, %v", info, err)
	}
	if _, err := os.Stat(s.path); err != nil {
		t.Error(err)
	}
}

func TestRestoredTravels(t *testing.T) {
	dir := t.TempDir()
	if _, ok := loadRestored(dir); ok {
		t.Error("nothing was written")
	}
	want := restored{Files: 3, Bytes: 1 << 40, Seconds: 1.25}
	if err := saveRestored(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, ok := loadRestored(dir); !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
	// A counter that goes down would end the process.
	for _, text := range []string{"", "{", `{"files":-1}`, `{"seconds":-1}`, `{"bytes":-5}`} {
		if err := os.WriteFile(filepath.Join(dir, restoredName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := loadRestored(dir); ok {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}
