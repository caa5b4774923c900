package main

import (
	"strings"
	"testing"
	"time"
)

// TestComplaints: rows that are in proportion pass, and each thing that is not
// is named.
func TestComplaints(t *testing.T) {
	good := func() []row {
		rows := make([]row, 0, len(checkedShapes()))
		for _, s := range checkedShapes() {
			c := cost{cpu: time.Duration(s.files) * 100 * time.Microsecond, peak: busyMemory}
			rows = append(rows, row{shape: s, upload: c, restore: c, start: c, halt: c, idle: memory{now: restMemory}})
		}
		return rows
	}
	for name, c := range map[string]struct {
		spoil func(rows []row)
		want  string // "" for none
	}{
		"in proportion":     {func([]row) {}, ""},
		"more for few":      {func(rows []row) { rows[0].start.cpu *= 9 }, ""},
		"a million's share": {func(rows []row) { rows[2].upload.peak = allowed(busyMemory, 50_000) }, ""},
		"memory at work":    {func(rows []row) { rows[2].upload.peak = allowed(busyMemory, 50_000) + 1<<20 }, "50,000: first upload: 48.0 MiB of memory"},
		"memory at rest":    {func(rows []row) { rows[1].idle.now = busyMemory }, "20,000 in one folder: 36.0 MiB of memory at rest"},
		"quadratic":         {func(rows []row) { rows[2].halt.cpu *= 5 }, "50,000: wipe: 500µs of CPU for each file, 5.0 times that of 10,000"},
		"in the folder":     {func(rows []row) { rows[1].restore.cpu *= 3 }, "20,000 in one folder: restore: "},
		"from nothing":      {func(rows []row) { rows[0].start.cpu, rows[1].start.cpu, rows[2].start.cpu = 0, 0, time.Second }, "50,000: start: "},
	} {
		rows := good()
		c.spoil(rows)
		err := complaints(rows)
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if most := allowed(busyMemory, aMillion); most != mostMemory {
		t.Errorf("a million files may take %s", mib(most))
	}
}
