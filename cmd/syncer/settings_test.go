package main

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// read reads settings from a command line and an environment, as run does.
func read(t *testing.T, args []string, env map[string]string) (settings, error) {
	t.Helper()
	s := defaultSettings()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	s.define(flags, contract.Flags())
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	return s, bind(flags, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
}

// cases are values that each setting takes, with what it makes of them, and
// values that it refuses.
func cases() map[string]struct {
	good map[string]any
	bad  []string
} {
	type c = struct {
		good map[string]any
		bad  []string
	}
	folder := c{map[string]any{"/data": "/data", "a b": "a b"}, []string{"a\x00b"}}
	globs := c{
		map[string]any{"*.log,tmp/**": []string{"*.log", "tmp/**"}, "*.{a,b}": []string{"*.{a,b}"}},
		[]string{"[a", "a,{b"},
	}
	truth := c{map[string]any{"true": true, "false": false}, []string{"yes", "1", "True"}}
	duration := c{
		map[string]any{"90s": 90 * time.Second, "5m": 5 * time.Minute, "0s": time.Duration(0)},
		[]string{"5", "-1s", "soon", "9000h", "1e3s"},
	}
	return map[string]c{
		contract.FlagBucket: {
			map[string]any{"abc": "abc", "my.bucket-1": "my.bucket-1"},
			[]string{"ab", "Abc", "a_b", "-ab", "a..b", "10.0.0.1", strings.Repeat("a", 64), "a/b"},
		},
		contract.FlagPrefix: {
			map[string]any{"a": "a/", "a/": "a/", "a/b": "a/b/", "ä ö": "ä ö/", ".hidden": ".hidden/"},
			[]string{"/a", "a//b", "../a", "a/..", ".", "a/./b", "a\x00", "a\nb", "\xff", contract.Reserved, "a/" + contract.Reserved + "b", "/", strings.Repeat("a", 800)},
		},
		contract.FlagEndpoint: {
			map[string]any{
				"http://127.0.0.1:9000": "http://127.0.0.1:9000", "https://s3.example.com/": "https://s3.example.com",
				"http://[::1]:9000": "http://[::1]:9000",
			},
			[]string{"127.0.0.1:9000", "ftp://a", "http://", "http://a/b", "http://u:p@a", "http://a?b", "http://a?", "http://a#b", "http://a:0", "http://a:99999", "http://a:", "http://a b"},
		},
		contract.FlagRegion:         {map[string]any{"eu-west-1": "eu-west-1"}, []string{"a b", "ä"}},
		contract.FlagPath:           folder,
		contract.FlagStateDir:       folder,
		contract.FlagCredentialsDir: folder,
		contract.FlagMode:           {map[string]any{"shared": "shared", "read-only": "read-only"}, []string{"exclusive", "Shared"}},
		contract.FlagDelete:         truth,
		contract.FlagCreateBucket:   truth,
		contract.FlagInclude:        globs,
		contract.FlagExclude:        globs,
		contract.FlagRestoreAt: {
			map[string]any{
				"2026-11-23T18:30:00Z":        time.Date(2026, 11, 23, 18, 30, 0, 0, time.UTC),
				"2026-11-23T19:30:00.5+01:00": time.Date(2026, 11, 23, 18, 30, 0, 5e8, time.UTC),
			},
			[]string{"now", "2026-11-23", "2026-11-23T18:30:00", "2026-11-23 18:30:00Z", "1795458600"},
		},
		contract.FlagRestoreTimeout: duration,
		contract.FlagFlushTimeout:   duration,
		contract.FlagShutdownQuiet:  duration,
		contract.FlagReportAfter:    duration,
		contract.FlagScanInterval:   {map[string]any{"1s": time.Second}, []string{"0s", "999ms", "x"}},
		contract.FlagBandwidthLimit: {
			map[string]any{
				"0": int64(0), "65536": int64(65536), "64Ki": int64(65536), "10Mi": int64(10 << 20), "1.5Mi": int64(3 << 19),
				"100k": int64(1e5), "2.5M": int64(25e5), "1G": int64(1e9), "1Ti": int64(1 << 40),
			},
			[]string{"10", "64k", "fast", "-1Mi", "10 Mi", "10MiB", "10mb", "Mi", "1e6", "0x10000", "1_000_000", "9999999999Ti", "Inf"},
		},
		contract.FlagMetricsAddress: {
			map[string]any{":9808": ":9808", "127.0.0.1:80": "127.0.0.1:80", "[::1]:80": "[::1]:80", "0": "", "localhost:1": "localhost:1"},
			[]string{"9808", ":0", ":x", "a.example:80", ":70000", "127.0.0.1", ":"},
		},
		contract.FlagConcurrency: {map[string]any{"1": 1, "1024": 1024}, []string{"0", "-1", "1025", "many"}},
		contract.FlagLogLevel:    {map[string]any{"debug": "debug", "error": "error"}, []string{"trace", "INFO"}},
		contract.FlagLogFormat:   {map[string]any{"text": "text", "json": "json"}, []string{"xml"}},
	}
}

// field is where a setting lands.
func field(s settings, flag string) any {
	return map[string]any{
		contract.FlagBucket: s.bucket, contract.FlagPrefix: s.prefix, contract.FlagEndpoint: s.endpoint,
		contract.FlagRegion: s.region, contract.FlagPath: s.path, contract.FlagStateDir: s.stateDir,
		contract.FlagCredentialsDir: s.credentialsDir, contract.FlagMode: s.mode, contract.FlagDelete: s.delete,
		contract.FlagInclude: s.include, contract.FlagExclude: s.exclude, contract.FlagCreateBucket: s.createBucket,
		contract.FlagRestoreAt: s.restoreAt, contract.FlagRestoreTimeout: s.restoreTimeout, contract.FlagFlushTimeout: s.flushTimeout, contract.FlagShutdownQuiet: s.shutdownQuiet,
		contract.FlagReportAfter: s.reportAfter, contract.FlagScanInterval: s.scanInterval,
		contract.FlagBandwidthLimit: s.bandwidthLimit, contract.FlagMetricsAddress: s.metricsAddress,
		contract.FlagConcurrency: s.concurrency, contract.FlagLogLevel: s.logLevel, contract.FlagLogFormat: s.logFormat,
	}[flag]
}

func TestEverySetting(t *testing.T) {
	all := cases()
	if got, want := slices.Sorted(maps.Keys(all)), slices.Sorted(slices.Values(contract.Flags())); !slices.Equal(got, want) {
		t.Fatalf("tested are %v, there are %v", got, want)
	}
	for flag, c := range all {
		t.Run(flag, func(t *testing.T) {
			for text, want := range c.good {
				for source, from := range map[string]func() (settings, error){
					"flag":        func() (settings, error) { return read(t, []string{"--" + flag + "=" + text}, nil) },
					"environment": func() (settings, error) { return read(t, nil, map[string]string{contract.EnvName(flag): text}) },
				} {
					s, err := from()
					if err != nil {
						t.Errorf("%s %q: %v", source, text, err)
					} else if got := field(s, flag); !reflect.DeepEqual(got, want) {
						t.Errorf("%s %q: got %#v, want %#v", source, text, got, want)
					}
				}
			}
			for _, text := range c.bad {
				for source, from := range map[string]func() (settings, error){
					"flag":        func() (settings, error) { return read(t, []string{"--" + flag + "=" + text}, nil) },
					"environment": func() (settings, error) { return read(t, nil, map[string]string{contract.EnvName(flag): text}) },
				} {
					_, err := from()
					bad, ok := errors.AsType[*badSetting](err)
					if !ok {
						t.Errorf("%s %q: got %v, want a bad setting", source, text, err)
						continue
					}
					if code, _ := explain(err); code != contract.ExitUsage {
						t.Errorf("%s %q: exit code %d", source, text, code)
					}
					for _, part := range []string{"--" + flag, contract.EnvName(flag), bad.must} {
						if !strings.Contains(bad.Error(), part) || part == "" {
							t.Errorf("%s %q: the error does not say %q: %v", source, text, part, bad)
						}
					}
				}
			}
			if usageOf(flag) == "" {
				t.Error("the help says nothing")
			}
		})
	}
}

func TestFlagWinsOverEnvironment(t *testing.T) {
	env := map[string]string{"MINIO_SIDECAR_BUCKET": "from-env", "MINIO_SIDECAR_MODE": "read-only", "MINIO_SIDECAR_REGION": "", "MINIO_SIDECAR_OTHER": "x"}
	s, err := read(t, []string{"--bucket", "from-flag"}, env)
	if err != nil {
		t.Fatal(err)
	}
	if s.bucket != "from-flag" || s.mode != "read-only" || s.region != contract.DefaultRegion {
		t.Errorf("got %+v", s)
	}
	// Also over one that is wrong: who corrects it by a flag has corrected it.
	env["MINIO_SIDECAR_BUCKET"] = "WRONG"
	if _, err := read(t, []string{"--bucket", "from-flag"}, env); err != nil {
		t.Error(err)
	}
}

func TestListsAddUp(t *testing.T) {
	s, err := read(t, []string{"--exclude", "a,b", "--exclude", "c"}, map[string]string{"MINIO_SIDECAR_EXCLUDE": "d", "MINIO_SIDECAR_INCLUDE": "e"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(s.exclude, want) || !slices.Equal(s.include, []string{"e"}) {
		t.Errorf("got %v and %v", s.exclude, s.include)
	}
}

func TestBareBoolean(t *testing.T) {
	s, err := read(t, []string{"--create-bucket", "--delete=false"}, nil)
	if err != nil || !s.createBucket || s.delete {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestRequire(t *testing.T) {
	s := defaultSettings()
	err := s.require(contract.FlagMode, contract.FlagBucket, contract.FlagPath)
	if err == nil || !strings.HasPrefix(err.Error(), "--bucket (MINIO_SIDECAR_BUCKET) is missing: it must be 3 to 63") {
		t.Errorf("got %v", err)
	}
	s.bucket, s.path = "abc", "/d"
	if err := s.require(contract.FlagMode, contract.FlagBucket, contract.FlagPath); err != nil {
		t.Error(err)
	}
}

// TestCommandsTakeAllSettings: each setting has its place, in restore or sync.
func TestCommandsTakeAllSettings(t *testing.T) {
	p := &program{settings: defaultSettings()}
	taken := map[string]bool{}
	for _, cmd := range p.commands().Commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s: no usage", cmd.Name(), f.Name)
			}
		})
		if cmd.Name() == "sync" || cmd.Name() == "restore" {
			cmd.Flags().VisitAll(func(f *pflag.Flag) { taken[f.Name] = true })
		}
	}
	for _, flag := range contract.Flags() {
		if !taken[flag] {
			t.Errorf("neither restore nor sync has --%s", flag)
		}
	}
}

func TestWriteDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", time.Minute: "1m", 90 * time.Second: "1m30s",
		time.Hour: "1h", time.Hour + time.Second: "1h0m1s", 100 * time.Minute: "1h40m", 70 * time.Second: "1m10s",
	} {
		if got := writeDuration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func FuzzPrefix(f *testing.F) {
	for _, s := range []string{"", "a", "a/b/", "../x", ".minio-sidecar/", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		prefix, ok := readPrefix(text)
		if !ok || prefix == "" {
			return
		}
		if again, ok := readPrefix(prefix); !ok || again != prefix {
			t.Errorf("%q became %q, which becomes %q, %v", text, prefix, again, ok)
		}
		if !strings.HasSuffix(prefix, "/") || strings.HasPrefix(prefix, "/") || strings.Contains(prefix, "//") ||
			strings.Contains("/"+prefix, "/../") || strings.Contains("/"+prefix, "/"+contract.Reserved) {
			t.Errorf("%q was taken, as %q", text, prefix)
		}
	})
}

func FuzzRate(f *testing.F) {
	for _, s := range []string{"", "0", "64Ki", "1.5Mi", "10M", "100000000000000Ti"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k := rateKind()
		n, ok := k.read(text)
		if !ok {
			return
		}
		if n < 0 || n > 0 && n < contract.MinBandwidthLimit {
			t.Errorf("%q became %d", text, n)
		}
		if again, ok := k.read(k.write(n)); !ok || again != n {
			t.Errorf("%q became %d, written %q, which becomes %d, %v", text, n, k.write(n), again, ok)
		}
	})
}

func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{"http://a:1", "https://[::1]/", "http://a@b", "http://%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		endpoint, ok := readEndpoint(text)
		if !ok {
			return
		}
		again, ok := readEndpoint(endpoint)
		if !ok || again != endpoint {
			t.Errorf("%q became %q, which becomes %q, %v", text, endpoint, again, ok)
		}
		_, rest, _ := strings.Cut(endpoint, "://")
		if rest == "" || strings.ContainsAny(rest, "/@?#") {
			t.Errorf("%q was taken, as %q", text, endpoint)
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"", "0", ":9808", "[::1]:1", "localhost:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if address, ok := readAddress(text); ok {
			if again, ok := readAddress(address); !ok || again != address {
				t.Errorf("%q became %q, which becomes %q, %v", text, address, again, ok)
			}
		}
	})
}
