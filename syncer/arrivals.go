package syncer

import "github.com/minio-sidecar/minio-sidecar/syncer/entry"

// arriving is to be told what is about to be given the path of key, which has
// this object: see [base.DB.Arriving].
func (e *Engine) arriving(key, etag string) func(entry.Local) {
	return func(l entry.Local) {
		l.Key = key
		e.base.Arriving(*agreed(l, etag))
	}
}

// recognize finishes what a predecessor was killed at: what came from the bucket
// had its path, and nobody had written down from where. Taken for the app's own
// it would come back if it is deleted elsewhere, and be a conflict if it is
// changed.
func (e *Engine) recognize() {
	for _, b := range e.base.Arrivals() {
		l, _, ok, err := e.tree.Lookup(entry.Path(b.Key))
		if err != nil {
			continue // and a later process looks again
		}
		if ok && isArrival(l, b) {
			l.Key = b.Key
			if err := e.record(b.Key, agreed(l, b.ETag)); err != nil {
				e.log.Warn("could not record what had come from the bucket; it counts as the app's own", "path", b.Key, "error", err)
				continue
			}
			e.log.Debug("what a predecessor had brought is known again", "path", b.Key)
		}
		e.base.Arrived(b.Key)
	}
}

// isArrival reports whether l is what b says was to arrive, as it was. A rename
// gives a file a new ctime, so that does not count; a change of the app's in that
// moment would have to leave size and times as they were.
func isArrival(l entry.Local, b entry.Base) bool {
	if b.Local.Kind == entry.Dir {
		return l.Kind == entry.Dir && l.Attrs.SameDir(b.Attrs)
	}
	f := l.Fingerprint
	f.CTime = b.Local.CTime
	return f == b.Local && l.Attrs == b.Attrs
}
