package base

import "github.com/minio-sidecar/minio-sidecar/syncer/entry"

// A file that comes from the bucket is given its path, and then it is written
// down that it is agreed on. A process that is killed in between would leave a
// file that its successor takes for a new one of the app: if it was deleted
// elsewhere meanwhile, it would come back. So it is written down beforehand as
// well, in a list like that of the uploads.

const arrivalsName = "downloads.log"

// Arriving writes down that e, which is what will be agreed on, is about to be
// given its path in the volume. Until [DB.Arrived] crosses it out it is among
// the [DB.Arrivals] of the processes to come.
func (d *DB) Arriving(e entry.Base) { d.arrivals.begin(e) }

// Arrived crosses key out: it is agreed on, or has not got its path.
func (d *DB) Arrived(key string) { d.arrivals.end(key, func(Intent) bool { return true }) }

// Arrivals are those of which it is not known whether they were given their
// paths, in key order; those of one key in the order in which they began.
func (d *DB) Arrivals() (all []entry.Base) {
	for _, key := range d.arrivals.keys() {
		for _, i := range d.arrivals.of(key) {
			all = append(all, i.Entry)
		}
	}
	return all
}
