package main

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// isTerminal reports whether people look at f, on a screen that can erase.
func isTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// columns is the width of the terminal f.
func columns(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}

// logFormatFor is the format to log in: text for people, unless told otherwise.
func (s *settings) logFormatFor(terminal bool) string {
	switch {
	case s.logFormat != "":
		return s.logFormat
	case terminal:
		return contract.LogFormatText
	}
	return contract.LogFormatJSON
}

// newLogger logs to out. The level and format were checked before.
func newLogger(out io.Writer, terminal bool, level, format string) *slog.Logger {
	least := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}[level]
	switch {
	case format == contract.LogFormatJSON:
		return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: least, ReplaceAttr: spellDurations}))
	case terminal:
		return slog.New(tint.NewTextHandler(out, &tint.Options{
			Level: least, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != "",
		}))
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: least}))
}

// spellDurations writes 1m30s where JSON would have 90000000000.
func spellDurations(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}
