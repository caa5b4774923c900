package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// page is docs/benchmarks-scale.md.
func (s *scale) page(m machine) string {
	var page strings.Builder
	w := func(format string, args ...any) { fmt.Fprintf(&page, format+"\n", args...) }
	w("# Benchmarks: many files, large files\n")
	w("Written by `make bench-scale`; do not edit. The syncer alone, as a pod runs it, against a MinIO server on a loopback address, once for each row. Files have 1 KiB, 100 of them are in a folder where nothing else is said. A step that takes more than linear time would show in the times per file, and memory that grows with the files in the second table.\n")
	w("- %s", m.text)
	w("- load average (1 min) %s before, %s after", m.loadBefore, m.loadAfter)
	w("- %s\n", m.versions)

	w("## Time\n")
	w("In all, and for each file. *Load* is the mean of the load averages after each step; of it, the store and the syncer account for about 2, the rest is other work on the same machine, if any.\n")
	w("| files | first upload | restore | start | full scan | wiped: held back | wiped: deleted | load |")
	w("|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, r := range s.rows {
		w("| %v | %s | %s | %s | %s | %s | %s | %s |", r.shape, r.each(r.upload.took), r.each(r.restore.took),
			r.each(r.start.took), r.each(r.scan), r.each(r.halt.took), r.each(r.confirm), number(mean(r.loads)))
	}
	w("\n## Memory\n")
	w("Resident memory (VmHWM and VmRSS) of the process. The last column of *idle* is the part that is not pages of the base's file, which the kernel drops when it needs the room.\n")
	w("| files | first upload, peak | restore, peak | start, peak | idle | idle, anonymous | idle, CPU | wiped, peak | base on disk |")
	w("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, r := range s.rows {
		w("| %v | %s | %s | %s | %s | %s | %.2f %% | %s | %s |", r.shape, mib(r.upload.peak), mib(r.restore.peak),
			mib(r.start.peak), mib(r.idle.now), mib(r.idle.anonymous), r.idleCPU, mib(r.halt.peak), mib(r.base))
	}
	w("\n- **First upload**: `syncer sync` on a volume full of files and an empty bucket, until `syncer flush` says that all is acknowledged.")
	w("- **Restore**: `syncer restore` of that bucket into an empty volume.")
	w("- **Start**: `syncer sync` after that restore, until it has listed the bucket, scanned the volume and found that nothing is to be done.")
	w("- **Full scan**: of that volume, while nothing else happens, as `minio_sidecar_scan_duration_seconds` tells.")
	w("- **Wiped**: all files are moved out of the volume at once. *Held back*: until the guard against mass deletion reports every one of them; *deleted*: after `syncer flush --confirm-deletes`, until the bucket is empty (up to %s files). The peak covers both, and all that the process did before.", grouped(confirmUpTo))
	if r := s.sparse; r != nil {
		w("\n## Sparse files\n")
		w("Of each, %s are data, in four places; the rest are holes.\n", mib(sparseData))
		w("| size | | time | memory, peak |")
		w("|---:|---|---:|---:|")
		w("| %s | found and planned; memory: %v into its upload | %s | %s |", mib(hugeFile), underWay, seconds(r.hugeScan), mib(r.hugePeak))
		w("| %s | upload | %s | %s |", mib(smallerFile), seconds(r.upload.took), mib(r.upload.peak))
		w("| %s | restore | %s | %s |", mib(smallerFile), seconds(r.restore.took), mib(r.restore.peak))
		w("\nOn disk the file of %s takes %s before and %s after it was restored.", mib(smallerFile), mib(r.diskBefore), mib(r.diskAfter))
	}
	return page.String()
}

// each is a time in all and for each file.
func (r row) each(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return fmt.Sprintf("%s, %s µs", seconds(d), number(float64(d)/float64(time.Microsecond)/float64(r.files)))
}

func seconds(d time.Duration) string { return number(d.Seconds()) + " s" }

func mib(bytes int64) string {
	if bytes >= 1<<30 && bytes%(1<<30) == 0 {
		return fmt.Sprintf("%d GiB", bytes>>30)
	}
	return number(float64(bytes)/(1<<20)) + " MiB"
}

// grouped writes 1,000,000.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
