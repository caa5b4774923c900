package syncer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// ErrTorn: a file changed while it was read; nothing was published.
var ErrTorn = errors.New("file changed while it was read")

// namesMax is how many bytes an [UnsyncedError] spends on naming paths: what
// kept them is said after them, and Kubernetes keeps 4096 bytes of it all.
const namesMax = 2048

// UnsyncedError: the engine stopped before everything was in the bucket.
type UnsyncedError struct {
	Paths  []status.PathReason // the first few
	Count  int64               // all of them
	Halted int64               // of these, deletions that the mass-delete guard holds back
	Cause  error               // why the last flush ended
}

func (e *UnsyncedError) Error() string {
	var b strings.Builder
	switch e.Count {
	case 0:
		b.WriteString("the last flush did not end, so it is not known whether everything is in the bucket")
	case 1:
		b.WriteString("1 change is not in the bucket")
	default:
		fmt.Fprintf(&b, "%d changes are not in the bucket", e.Count)
	}
	named := int64(0)
	for _, p := range e.Paths {
		sep := ", "
		if named == 0 {
			sep = ": "
		}
		text := fmt.Sprintf("%s%s (%s)", sep, p.Path, p.Reason)
		if named > 0 && b.Len()+len(text) > namesMax {
			break
		}
		b.WriteString(text)
		named++
	}
	if 0 < named && named < e.Count {
		fmt.Fprintf(&b, " and %d more", e.Count-named)
	}
	if e.Halted > 0 {
		b.WriteString("; " + haltedMessage(e.Halted))
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, "; %v", e.Cause)
	}
	return b.String()
}

func (e *UnsyncedError) Unwrap() error { return e.Cause }

func isNoBucket(err error) bool { return errors.Is(err, store.ErrNoBucket) }

// storeWide reports whether err is about the store as a whole: other paths
// would fail just so, and it is asked less often. (One that is full still
// deletes.)
func storeWide(err error) bool {
	return errors.Is(err, store.ErrUnreachable) || errors.Is(err, store.ErrAccessDenied) ||
		errors.Is(err, store.ErrNoBucket)
}

// fatalForRestore reports whether waiting will not mend err. A container that
// fails is started again by Kubernetes, with a backoff of its own, and its
// error is what `kubectl describe pod` shows.
func fatalForRestore(err error) bool {
	return errors.Is(err, store.ErrAccessDenied) || errors.Is(err, store.ErrNoBucket) ||
		errors.Is(err, tree.ErrFull) || errors.Is(err, ErrBucketReplaced)
}

// conditionOf is the word for err in a status.
func conditionOf(err error) status.Condition {
	switch {
	case err == nil:
		return status.OK
	case errors.Is(err, store.ErrNoBucket):
		return status.NoBucket
	case errors.Is(err, store.ErrClock):
		return status.ClocksDiffer
	case errors.Is(err, store.ErrAccessDenied):
		return status.AccessDenied
	case errors.Is(err, store.ErrFull):
		return status.StoreFull
	case errors.Is(err, store.ErrUnreachable):
		return status.Unreachable
	case errors.Is(err, store.ErrDamaged):
		return status.Damaged
	case errors.Is(err, tree.ErrFull):
		return status.VolumeFull
	}
	return status.Failing
}
