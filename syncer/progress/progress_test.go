package progress

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

const mib = 1 << 20

func restoring(files, bytes int64) status.Status {
	return status.Status{
		Phase: status.Restoring, Condition: status.OK,
		Progress: status.Progress{FilesDone: files, FilesTotal: 10_000, BytesDone: bytes, BytesTotal: 1000 * mib},
	}
}

func TestMeter(t *testing.T) {
	var m Meter
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

	if r := m.Read(at(0), restoring(0, 0)); r.BytesPerSecond != 0 || r.Left != 0 {
		t.Errorf("the first snapshot cannot tell a rate: %+v", r)
	}
	// 10 MiB/s and 50 files/s: the files are what takes longer.
	r := m.Read(at(4), restoring(200, 40*mib))
	if r.BytesPerSecond != 10*mib || r.FilesPerSecond != 50 || r.Left != 196*time.Second {
		t.Errorf("got %v B/s, %v files/s, %v left", r.BytesPerSecond, r.FilesPerSecond, r.Left)
	}
	// The rate is that of the last seconds, not that of the whole time.
	for s := 5; s <= 60; s++ {
		r = m.Read(at(s), restoring(200, 40*mib+int64(s-4)*mib))
	}
	if r.BytesPerSecond != mib || r.FilesPerSecond != 0 || r.Left != 904*time.Second {
		t.Errorf("later: got %v B/s, %v files/s, %v left", r.BytesPerSecond, r.FilesPerSecond, r.Left)
	}
	if n := len(m.samples); n > 12 {
		t.Errorf("%d samples are kept for %v", n, window)
	}
	// The next phase counts from zero; it has no rate yet.
	if r = m.Read(at(61), status.Status{Phase: status.Syncing}); r.BytesPerSecond != 0 {
		t.Errorf("a new phase: got %v B/s", r.BytesPerSecond)
	}
}

func TestLine(t *testing.T) {
	for name, c := range map[string]struct {
		reading Reading
		width   int
		want    string
	}{
		"restoring": {
			Reading{Status: restoring(1234, 375*mib), BytesPerSecond: 85 * mib, Left: 12 * time.Second}, 120,
			"███████████▎░░░░░░░░░░░░░░░░░░  37%  restoring 1,234 of 10,000 files · 375 MiB of 1000 MiB · 85 MiB/s · 12s left",
		},
		"on a narrow screen": {
			Reading{Status: restoring(1234, 375*mib), BytesPerSecond: 85 * mib, Left: 12 * time.Second}, 95,
			"████▌░░░░░░░  37%  restoring 1,234 of 10,000 files · 375 MiB of 1000 MiB · 85 MiB/s · 12s left",
		},
		"on a tiny screen": {Reading{Status: restoring(1234, 375*mib)}, 20, "restoring 1,234 of…"},
		"on none":          {Reading{Status: restoring(1234, 375*mib)}, 0, ""},
		"before the listing": {
			Reading{Status: status.Status{Phase: status.Restoring, Condition: status.OK}}, 80,
			"restoring 0 files · 0 B",
		},
		"empty files only": {
			Reading{Status: status.Status{Phase: status.Restoring, Progress: status.Progress{FilesDone: 1, FilesTotal: 2}}}, 60,
			"████████████░░░░░░░░░░░░  50%  restoring 1 of 2 files · 0 B",
		},
		"more than was listed": {
			Reading{Status: status.Status{Phase: status.Restoring, Progress: status.Progress{FilesDone: 3, FilesTotal: 2}}}, 52,
			"████████████████ 100%  restoring 3 of 2 files · 0 B",
		},
		"store down": {
			Reading{Status: status.Status{Phase: status.Restoring, Condition: status.Unreachable}}, 80,
			"restoring 0 files · 0 B · store-unreachable",
		},
		"first comparison": {
			Reading{Status: status.Status{Phase: status.Syncing, Condition: status.OK}}, 80,
			"syncing: comparing volume and bucket",
		},
		"in step": {
			Reading{Status: status.Status{Phase: status.Syncing, Restored: true, Synced: 12345, Unsyncable: 1}}, 80,
			"in step: 12,345 entries · 1 cannot be synced",
		},
		"syncing": {
			Reading{Status: status.Status{Phase: status.Syncing, Restored: true, Pending: 3, OldestPendingSeconds: 4.21}, BytesPerSecond: 2048}, 80,
			"syncing: 3 pending · oldest 4.2s · 2.0 KiB/s",
		},
		"flushing": {
			Reading{Status: status.Status{Phase: status.Flushing, Restored: true, Pending: 3, OldestPendingSeconds: 75}}, 80,
			"flushing: 3 pending · oldest 1m15s",
		},
		"starting": {Reading{Status: status.Status{Phase: status.Starting}}, 80, "starting"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Line(c.reading, c.width); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// A line never wraps, whatever the numbers are: a wrapped one cannot be erased.
func TestLineFits(t *testing.T) {
	phases := []status.Phase{status.Starting, status.Restoring, status.Syncing, status.Flushing, status.Stopped, "?"}
	rapid.Check(t, func(t *rapid.T) {
		r := Reading{
			Status: status.Status{
				Phase:      rapid.SampledFrom(phases).Draw(t, "phase"),
				Condition:  rapid.SampledFrom([]status.Condition{status.OK, status.Unreachable}).Draw(t, "condition"),
				Pending:    rapid.Int64().Draw(t, "pending"),
				Unsyncable: rapid.Int64().Draw(t, "unsyncable"), OldestPendingSeconds: rapid.Float64().Draw(t, "oldest"),
				Progress: status.Progress{
					FilesDone: rapid.Int64().Draw(t, "files"), FilesTotal: rapid.Int64Min(0).Draw(t, "of files"),
					BytesDone: rapid.Int64Min(0).Draw(t, "bytes"), BytesTotal: rapid.Int64Min(0).Draw(t, "of bytes"),
				},
			},
			BytesPerSecond: rapid.Float64Range(0, 1e18).Draw(t, "rate"),
		}
		width := rapid.IntRange(0, 200).Draw(t, "width")
		line := Line(r, width)
		if n := utf8.RuneCountInString(line); n > max(width-1, 0) || !utf8.ValidString(line) {
			t.Fatalf("%d columns on a screen of %d: %q", n, width, line)
		}
	})
}

// screen is a terminal; it is read while it is written.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// shown is what is to be seen: erased lines are not.
func (s *screen) shown() string {
	var lines []string
	for _, line := range strings.Split(s.String(), "\n") {
		if i := strings.LastIndex(line, eraseLine); i >= 0 {
			line = line[i+len(eraseLine):]
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out screen
		terminal := NewTerminal(&out, func() int { return 80 })
		write := func(text string) {
			if n, err := terminal.Write([]byte(text)); n != len(text) || err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
		}
		var mu sync.Mutex
		s := status.Status{Phase: status.Syncing, Restored: true, Synced: 1}
		read := func() status.Status { mu.Lock(); defer mu.Unlock(); return s }
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := out.shown(); got != want {
				t.Errorf("the screen shows\n%q, want\n%q", got, want)
			}
		}

		write("before\n")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); terminal.Show(ctx, read) }()
		expect("before\nin step: 1 entries")
		write("while\n")
		expect("before\nwhile\nin step: 1 entries")
		mu.Lock()
		s.Pending = 2
		mu.Unlock()
		time.Sleep(redrawInterval)
		expect("before\nwhile\nsyncing: 2 pending")
		length := len(out.String())
		time.Sleep(time.Minute)
		if synctest.Wait(); len(out.String()) != length {
			t.Error("what has not changed was drawn again")
		}
		cancel()
		<-done
		write("after\n")
		expect("before\nwhile\nafter\n")
	})
}

func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out screen
		var mu sync.Mutex
		s := status.Status{Phase: status.Syncing, Condition: status.OK, Restored: true}
		set := func(f func()) { mu.Lock(); defer mu.Unlock(); f() }
		read := func() status.Status { mu.Lock(); defer mu.Unlock(); return s }
		lines := func() (all []map[string]any) {
			synctest.Wait()
			for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
				if line == "" {
					continue
				}
				var m map[string]any
				if err := json.Unmarshal([]byte(line), &m); err != nil {
					t.Fatal(err)
				}
				all = append(all, m)
			}
			return all
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); Log(ctx, slog.New(slog.NewJSONHandler(&out, nil)), read) }()

		// From here on all happens between the ticks, never together with one.
		time.Sleep(time.Hour + time.Second)
		if n := len(lines()); n != 0 {
			t.Errorf("%d lines about nothing", n)
		}
		set(func() { s.Pending, s.Synced, s.OldestPendingSeconds = 7, 3, 1.5 })
		time.Sleep(logInterval)
		got := lines()
		if len(got) != 1 {
			t.Fatalf("%d lines, want 1", len(got))
		}
		for key, want := range map[string]any{
			"msg": "progress", "phase": "syncing", "pending": 7.0, "synced": 3.0, "oldestPendingSeconds": 1.5,
		} {
			if got[0][key] != want {
				t.Errorf("%s: %v, want %v", key, got[0][key], want)
			}
		}
		// Work that stands still is told once a minute, not every few seconds.
		time.Sleep(10 * time.Minute)
		if n := len(lines()) - 1; n != 10 {
			t.Errorf("%d lines in ten minutes, want 10", n)
		}
		// Work that goes on is told every few seconds.
		before := len(lines())
		for i := range int64(6) {
			set(func() { s.Progress.BytesDone = (i + 1) * 1024 })
			time.Sleep(logInterval)
		}
		if n := len(lines()) - before; n != 6 {
			t.Errorf("%d lines in half a minute of work, want 6", n)
		}
		set(func() {
			s = status.Status{Phase: status.Restoring, Condition: status.Unreachable, Progress: status.Progress{FilesTotal: 5}}
		})
		time.Sleep(logInterval)
		got = lines()
		last := got[len(got)-1]
		if last["condition"] != "store-unreachable" || last["filesTotal"] != 5.0 || last["pending"] != nil {
			t.Errorf("restoring: %v", last)
		}
		cancel()
		<-done
	})
}
