package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata/status")

func statuses() map[string]status.Status {
	in := func(change func(*status.Status)) status.Status {
		s := status.Status{
			Phase: status.Syncing, Condition: status.OK, Bucket: "photos", Endpoint: "http://minio:9000",
			Mode: contract.ModeShared, Restored: true, Watching: true, Synced: 12345,
		}
		change(&s)
		return s
	}
	return map[string]status.Status{
		"in-step": in(func(*status.Status) {}),
		"busy": in(func(s *status.Status) {
			s.Prefix, s.Pending, s.OldestPendingSeconds = "team/app/", 1234, 4.2
			s.PendingPaths = []status.PathReason{{Path: "a/b.log", Reason: "changes all the time"}, {Path: "c\nd"}}
			s.Unsyncable = 1
			s.UnsyncablePaths = []status.PathReason{{Path: "run/app.sock", Reason: "a socket cannot be stored as an object"}}
			s.OtherWriters = []string{"app-1-ab12", "app-2-cd34"}
		}),
		"unreachable": in(func(s *status.Status) {
			s.Condition, s.Message = status.Unreachable, "list photos: store unreachable: connection refused"
			s.Pending, s.OldestPendingSeconds = 1, 3700
			s.PendingPaths = []status.PathReason{{Path: "a"}}
			s.Notes = []string{"the store ignores conditional writes"}
		}),
		"halted": in(func(s *status.Status) {
			s.Condition, s.HaltedDeletes, s.Message = status.Halted, 500, "500 deletions are held back; if they are meant, run: syncer flush --confirm-deletes"
		}),
		"first-comparison": in(func(s *status.Status) { s.Restored, s.Synced = false, 0 }),
		"not-watching":     in(func(s *status.Status) { s.Watching, s.Mode = false, contract.ModeReadOnly }),
		"restoring": in(func(s *status.Status) {
			s.Phase, s.Restored, s.Watching, s.Synced = status.Restoring, false, false, 0
			s.Progress = status.Progress{FilesDone: 10, FilesTotal: 2000, BytesDone: 1 << 20, BytesTotal: 3 << 30}
		}),
	}
}

func TestWriteStatus(t *testing.T) {
	for name, s := range statuses() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			writeStatus(&b, s)
			golden := filepath.Join("testdata", "status", name+".txt")
			if *update {
				if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("-want +got (-update rewrites it):\n%s", diff)
			}
		})
	}
	files, err := filepath.Glob("testdata/status/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if _, ok := statuses()[strings.TrimSuffix(filepath.Base(file), ".txt")]; !ok {
			t.Errorf("%s belongs to no test", file)
		}
	}
}

// The startup probe asks this: an app must not start too early, nor be held up
// by a store that went away afterwards.
func TestUsable(t *testing.T) {
	want := map[string]string{
		"in-step": "", "busy": "", "unreachable": "", "halted": "",
		"first-comparison": "have not been compared", "not-watching": "not watched yet", "restoring": "restoring",
	}
	for name, s := range statuses() {
		err := usable(s)
		if want[name] == "" && err != nil || want[name] != "" && (err == nil || !strings.Contains(err.Error(), want[name])) {
			t.Errorf("%s: got %v, want %q", name, err, want[name])
		}
	}
	for phase, ready := range map[status.Phase]bool{status.Starting: false, status.Stopped: false, status.Flushing: true} {
		s := statuses()["in-step"]
		s.Phase = phase
		if err := usable(s); (err == nil) != ready {
			t.Errorf("%s: %v", phase, err)
		}
	}
	s := statuses()["first-comparison"]
	s.Message = "access denied"
	if err := usable(s); !strings.Contains(err.Error(), "access denied") {
		t.Errorf("it does not say why: %v", err)
	}
}

func TestWaitingFor(t *testing.T) {
	if got := waitingFor(statuses()["in-step"]); got != "" {
		t.Errorf("got %q", got)
	}
	if got, want := waitingFor(statuses()["busy"]), `waiting for 1,234 paths: a/b.log (changes all the time), c\nd`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s := statuses()["unreachable"]
	if got, want := waitingFor(s), "waiting for 1 path: a; list photos: store unreachable: connection refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.PendingPaths = []status.PathReason{{Path: "a"}, {Path: "b"}, {Path: "c"}, {Path: "d"}, {Path: "e"}}
	if got := waitingFor(s); !strings.HasPrefix(got, "waiting for 1 path: a, b, c, …;") {
		t.Errorf("got %q", got)
	}
}
