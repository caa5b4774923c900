package record

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// storyLines bounds a story; what matters is at its end.
const storyLines = 60

type event struct {
	moment Moment
	at     time.Duration
	text   string
	same   string // events that follow each other with the same are one line
}

// Story tells what happened to path, and around it, from its last state before
// the acknowledged moment on.
func (r *Record) Story(path string) string {
	var events []event
	told := map[string]bool{}
	r.tell(path, told, &events)
	from := r.acked
	for _, e := range events {
		from = min(from, e.moment)
	}
	for _, n := range r.notes {
		if n.moment >= from {
			events = append(events, event{n.moment, n.at, "-- " + n.what, ""})
		}
	}
	if len(events) == 0 {
		return "  nothing ever happened to it\n"
	}
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.moment, b.moment) })
	lines := r.lines(events)
	if cut := len(lines) - storyLines; cut > 0 {
		lines = slices.Concat(lines[:2], []string{fmt.Sprintf("  … %d lines left out", cut-2)}, lines[cut:])
	}
	return strings.Join(lines, "\n") + "\n"
}

// tell collects what path went through, and the names that it was renamed to.
func (r *Record) tell(path string, told map[string]bool, events *[]event) {
	if told[path] {
		return
	}
	told[path] = true
	for _, e := range r.since(path) {
		*events = append(*events, event{e.moment, e.at, fmt.Sprintf("%q is %s (%s)", path, e.state, e.how), path + "\x00" + e.how})
		if e.to != "" {
			r.tell(e.to, told, events)
		}
	}
}

func (r *Record) lines(events []event) []string {
	var lines []string
	acked := false
	for i := 0; i < len(events); i++ {
		if !acked && events[i].moment > r.acked {
			acked = true
			lines = append(lines, "  == all above is acknowledged")
		}
		last := i
		for e := events[i]; e.same != "" && last+1 < len(events) && events[last+1].same == e.same &&
			(acked || events[last+1].moment <= r.acked); {
			last++
		}
		line := tell(events[i])
		if last > i+1 {
			line += fmt.Sprintf("\n  %10s and %d more steps to", "", last-i)
		}
		lines = append(lines, line)
		if last > i {
			lines = append(lines, tell(events[last]))
		}
		i = last
	}
	if !acked {
		lines = append(lines, "  == all of this is acknowledged")
	}
	return lines
}

func tell(e event) string { return fmt.Sprintf("  %8.3fs #%-5d %s", e.at.Seconds(), e.moment, e.text) }
