package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// teller writes the story, in colours where somebody watches.
type teller struct {
	out    io.Writer
	colour bool
	began  time.Time
}

func newTeller(out *os.File) *teller {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &teller{out: out, colour: terminal && os.Getenv("NO_COLOR") == "", began: time.Now()}
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

func (t *teller) paint(colour, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (t *teller) chapter(format string, args ...any) {
	fmt.Fprintf(t.out, "\n%s\n\n", t.paint(bold, fmt.Sprintf(format, args...)))
}

func (t *teller) say(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		fmt.Fprintf(t.out, "  %s\n", strings.TrimRight(line, "\n"))
	}
}

// command shows what a person would type.
func (t *teller) command(line string) {
	fmt.Fprintf(t.out, "  %s\n", t.paint(cyan, "$ "+line))
}

// quote shows what a program answered.
func (t *teller) quote(text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprintf(t.out, "    %s\n", t.paint(dim, strings.TrimRight(line, "\n")))
	}
}

// diff shows a unified diff, long lines cut.
func (t *teller) diff(text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if runes := []rune(line); len(runes) > 100 {
			line = string(runes[:99]) + "…"
		}
		colour := dim
		switch {
		case strings.HasPrefix(line, "+"):
			colour = green
		case strings.HasPrefix(line, "-"):
			colour = red
		}
		fmt.Fprintf(t.out, "  %s\n", t.paint(colour, line))
	}
}

// kept says that a promise was kept, and how long that took.
func (t *teller) kept(took time.Duration, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(t.out, "  %s %s %s\n", t.paint(green, "✔"), text, t.paint(dim, seconds(took)))
}

// seconds writes a duration as people say it.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("(%d ms)", d.Milliseconds())
	}
	return fmt.Sprintf("(%.1f s)", d.Seconds())
}
