package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/progress"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// writeStatus writes s for people: what is wrong first, if anything is.
func writeStatus(w io.Writer, s status.Status) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, oneLine(fmt.Sprintf(format, args...)))
	}
	row("state", "%s", headline(s))
	if s.Message != "" {
		row("", "%s", s.Message)
	}
	mode := ""
	if s.Mode == contract.ModeReadOnly {
		mode = " (read-only)"
	}
	row("bucket", "%s at %s%s", strings.TrimSuffix(s.Bucket+"/"+s.Prefix, "/"), s.Endpoint, mode)
	if s.Phase == status.Restoring {
		p := s.Progress
		row("restored", "%s of %s, %s of %s so far", humanize.Comma(p.FilesDone), count(p.FilesTotal, "file"),
			humanize.IBytes(uint64(max(p.BytesDone, 0))), humanize.IBytes(uint64(max(p.BytesTotal, 0))))
	}
	row("synced", "%s", count(s.Synced, "path"))
	if s.Pending > 0 {
		row("pending", "%s, for up to %s", count(s.Pending, "path"), progress.Seconds(s.OldestPendingSeconds))
		listPaths(row, s.PendingPaths, s.Pending)
	}
	if s.Unsyncable > 0 {
		row("cannot be synced", "%s", count(s.Unsyncable, "path"))
		listPaths(row, s.UnsyncablePaths, s.Unsyncable)
	}
	if s.HaltedDeletes > 0 {
		row("halted", "%s", count(s.HaltedDeletes, "deletion"))
	}
	if len(s.OtherWriters) > 0 {
		row("other writers", "%s", strings.Join(s.OtherWriters, ", "))
	}
	for _, note := range s.Notes {
		row("note", "%s", note)
	}
	_ = table.Flush() // nobody to tell: the output has gone
}

// headline is a few words that say whether to read on.
func headline(s status.Status) string {
	words := string(s.Phase)
	if s.Phase == status.Syncing && s.Condition == status.OK {
		switch {
		case !s.Restored:
			words = "syncing, not complete yet"
		case !s.Watching:
			words = "syncing, not watching file events"
		case s.Pending == 0:
			words = "in step"
		}
	}
	if s.Condition != status.OK {
		words += ", " + string(s.Condition)
	}
	return words
}

// listPaths names a few paths of so many.
func listPaths(row func(string, string, ...any), paths []status.PathReason, of int64) {
	for _, p := range paths {
		if p.Reason == "" {
			row("", "%s", p.Path)
		} else {
			row("", "%s: %s", p.Path, p.Reason)
		}
	}
	if rest := of - int64(len(paths)); rest > 0 && len(paths) > 0 {
		row("", "and %s more", humanize.Comma(rest))
	}
}
