package main

import (
	"errors"
	"fmt"
	"time"
)

// What `make scale` holds the syncer to. It looks at some ten thousand files,
// as a million take most of an hour, and not at times, which depend on what
// else the machine does.
const (
	// aMillion files may take mostMemory, whatever is done with them; these are
	// figures of the design.
	aMillion   = 1_000_000
	mostMemory = 256 << 20
	// busyMemory and restMemory are what a syncer may take with next to no
	// files, at work and at rest. Between there and a million the bound is a
	// straight line.
	busyMemory = 36 << 20
	restMemory = 20 << 20
	// mostGrowth is how much more CPU time each file may cost where there are
	// more files. A step that looks at all files for each of them would have
	// it grow as their number does, fivefold from the smallest row to the
	// largest.
	mostGrowth = 2.5
	// cpuTick is the unit in which the kernel tells CPU time.
	cpuTick = 10 * time.Millisecond
)

// checkedShapes are the volumes that are looked at, the smallest first.
func checkedShapes() []shape {
	return []shape{{files: 10_000}, {files: 20_000, oneFolder: true}, {files: 50_000}}
}

// allowed is how much memory so many files may take, where none take fixed.
func allowed(fixed int64, files int) int64 {
	return fixed + (mostMemory-fixed)*int64(files)/aMillion
}

// step is one of the things that were done with a volume.
type step struct {
	name string
	cost
}

// steps are what was done with the volume, in this order.
func (r row) steps() []step {
	return []step{{"first upload", r.upload}, {"restore", r.restore}, {"start", r.start}, {"wipe", r.halt}}
}

// each is the CPU time for each file.
func (s step) each(files int) time.Duration {
	return max(s.cpu, cpuTick) / time.Duration(files)
}

// complaints says where memory or CPU time is out of proportion to the files.
// The rows are sorted by their size.
func complaints(rows []row) error {
	var all []error
	complain := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	for i, r := range rows {
		if most := allowed(restMemory, r.files); r.idle.now > most {
			complain("%v: %s of memory at rest, more than %s", r.shape, mib(r.idle.now), mib(most))
		}
		for at, s := range r.steps() {
			if most := allowed(busyMemory, r.files); s.peak > most {
				complain("%v: %s: %s of memory, more than %s", r.shape, s.name, mib(s.peak), mib(most))
			}
			if i == 0 {
				continue
			}
			few := rows[0]
			before, now := few.steps()[at].each(few.files), s.each(r.files)
			if float64(now) > mostGrowth*float64(before) {
				complain("%v: %s: %v of CPU for each file, %.1f times that of %v", r.shape, s.name,
					now, float64(now)/float64(before), few.shape)
			}
		}
	}
	return errors.Join(all...)
}
