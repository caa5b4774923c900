package progress

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

const (
	redrawInterval = 200 * time.Millisecond
	maxBar         = 30 // columns
	minBar         = 8
	// eraseLine goes to the line's begin and erases it (ECMA-48).
	eraseLine = "\r\x1b[K"
)

// Terminal is a screen with log lines on it and, while [Terminal.Show] lasts,
// one line of progress below them. It is safe for concurrent use.
//
// It draws by itself because libraries for progress bars count by themselves,
// and here everything that is shown has been counted already.
type Terminal struct {
	out   io.Writer
	width func() int

	mu   sync.Mutex
	line string // shown below the log; empty if nothing is
}

// NewTerminal writes to out, a terminal of so many columns.
func NewTerminal(out io.Writer, width func() int) *Terminal {
	return &Terminal{out: out, width: width}
}

// Write writes whole lines.
func (t *Terminal) Write(lines []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.line == "" {
		return t.out.Write(lines)
	}
	// In one write, so that nothing flickers.
	all := append([]byte(eraseLine), lines...)
	if _, err := t.out.Write(append(all, t.line...)); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// Show draws the progress that read tells, until ctx is done, and takes it off
// the screen then.
func (t *Terminal) Show(ctx context.Context, read func() status.Status) {
	ticker := time.NewTicker(redrawInterval)
	defer ticker.Stop()
	var meter Meter
	for {
		r := meter.Read(time.Now(), read())
		t.draw(Line(r, t.width()))
		select {
		case <-ctx.Done():
			t.draw("")
			return
		case <-ticker.C:
		}
	}
}

func (t *Terminal) draw(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if line == t.line {
		return
	}
	t.line = line
	_, _ = io.WriteString(t.out, eraseLine+line) // a screen that is gone is nobody's loss
}

// Line is a reading with, where the end is known, a bar before it, in fewer
// than width columns: a line that fills the screen's would wrap.
func Line(r Reading, width int) string {
	text := r.String()
	room := max(width-1, 0)
	if f, ok := r.Fraction(); ok {
		percent := fmt.Sprintf(" %3.0f%%  ", math.Floor(f*100))
		columns := min(room-utf8.RuneCountInString(text)-len(percent), maxBar)
		if columns >= minBar {
			return bar(f, columns) + percent + text
		}
	}
	if utf8.RuneCountInString(text) > room {
		short := []rune(text)[:max(room-1, 0)]
		return string(short) + strings.Repeat("…", min(room, 1))
	}
	return text
}

// bar fills columns by eighths.
func bar(fraction float64, columns int) string {
	const eighths = "▏▎▍▌▋▊▉"
	full := int(math.Round(fraction * float64(columns) * 8))
	var b strings.Builder
	b.WriteString(strings.Repeat("█", full/8))
	if part := full % 8; part > 0 {
		b.WriteRune([]rune(eighths)[part-1])
	}
	b.WriteString(strings.Repeat("░", columns-utf8.RuneCountInString(b.String())))
	return b.String()
}
