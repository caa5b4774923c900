// Package progress shows people what a syncer is doing: a bar on a terminal,
// a log line every few seconds elsewhere. All that it knows comes from the
// snapshots that a [status.Status] is.
package progress

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// window is the time over which rates are measured: long enough to be calm,
// short enough to show a change.
const window = 10 * time.Second

// Meter measures how fast snapshots follow each other. The zero value is
// ready. It is not safe for concurrent use.
type Meter struct {
	samples []sample // within window, oldest first
}

type sample struct {
	at           time.Time
	phase        status.Phase
	files, bytes int64
}

// Reading is what a Meter makes of a snapshot.
type Reading struct {
	status.Status
	FilesPerSecond, BytesPerSecond float64
	// Left is the time that the rest will take at this rate; 0 if unknown.
	Left time.Duration
}

// Read takes in the snapshot s of the moment now.
func (m *Meter) Read(now time.Time, s status.Status) Reading {
	next := sample{at: now, phase: s.Phase, files: s.Progress.FilesDone, bytes: s.Progress.BytesDone}
	if n := len(m.samples); n > 0 {
		if last := m.samples[n-1]; last.phase != next.phase || last.files > next.files || last.bytes > next.bytes {
			m.samples = m.samples[:0] // other work: its rate says nothing of this one's
		}
	}
	m.samples = append(m.samples, next)
	for len(m.samples) > 2 && now.Sub(m.samples[0].at) > window {
		m.samples = m.samples[1:]
	}

	r := Reading{Status: s}
	first := m.samples[0]
	if took := now.Sub(first.at).Seconds(); took > 0 {
		r.FilesPerSecond = float64(next.files-first.files) / took
		r.BytesPerSecond = float64(next.bytes-first.bytes) / took
	}
	r.Left = max(
		left(s.Progress.FilesTotal-next.files, r.FilesPerSecond),
		left(s.Progress.BytesTotal-next.bytes, r.BytesPerSecond),
	)
	return r
}

// left is 0 where it cannot be told.
func left(rest int64, perSecond float64) time.Duration {
	if rest <= 0 || perSecond <= 0 {
		return 0
	}
	seconds := float64(rest) / perSecond
	if seconds > math.MaxInt32 {
		return 0 // as good as never
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second)
}

// Fraction is how much is done, from 0 to 1; ok is false if that is unknown.
// Bytes tell it better than files, unless there are only empty ones.
func (r Reading) Fraction() (f float64, ok bool) {
	p := r.Progress
	done, total := p.BytesDone, p.BytesTotal
	if total == 0 {
		done, total = p.FilesDone, p.FilesTotal
	}
	if r.Phase != status.Restoring || total <= 0 {
		return 0, false
	}
	return max(0, min(float64(done)/float64(total), 1)), true
}

// String is one line for people.
func (r Reading) String() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch r.Phase {
	case status.Restoring:
		p := r.Progress
		add("restoring %s files", ofTotal(p.FilesDone, p.FilesTotal, humanize.Comma))
		add("%s", ofTotal(p.BytesDone, p.BytesTotal, bytesText))
	case status.Syncing, status.Flushing:
		switch {
		case r.Pending > 0:
			add("%s: %s pending", r.Phase, humanize.Comma(r.Pending))
			if r.OldestPendingSeconds >= 1 {
				add("oldest %s", Seconds(r.OldestPendingSeconds))
			}
		case !r.Restored:
			add("%s: comparing volume and bucket", r.Phase)
		default:
			add("in step: %s entries", humanize.Comma(r.Synced))
		}
		if r.Unsyncable > 0 {
			add("%s cannot be synced", humanize.Comma(r.Unsyncable))
		}
	default:
		add("%s", r.Phase)
	}
	if r.BytesPerSecond >= 1 {
		add("%s/s", humanize.IBytes(uint64(r.BytesPerSecond)))
	}
	if r.Left > 0 && r.Phase == status.Restoring {
		add("%s left", r.Left)
	}
	if r.Condition != status.OK && r.Condition != "" {
		add("%s", r.Condition)
	}
	return strings.Join(parts, " · ")
}

func ofTotal(done, total int64, text func(int64) string) string {
	if total == 0 {
		return text(done)
	}
	return text(done) + " of " + text(total)
}

func bytesText(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// Seconds writes a time as people do: 0.4s, 12s, 3m5s.
func Seconds(s float64) string {
	d := time.Duration(min(s, math.MaxInt32) * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
