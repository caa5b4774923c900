// Package plan decides what brings a volume and a bucket together. It is
// pure: it sees what each side says of a path and what both agreed on last
// (the base), and names one operation. Restore, sync, read-only and recovery
// after a lost base are all this one table over different inputs.
//
//	local    remote   operation
//	same     same     None
//	changed  same     Upload
//	deleted  same     DeleteRemote
//	same     changed  Download
//	same     deleted  DeleteLocal
//	changed  changed  Resolve       equal content is adopted, else both are kept
//	deleted  changed  Download      an edit beats a delete
//	changed  deleted  Upload        an edit beats a delete
//	deleted  deleted  Forget
//
// "same" is "as the base says", which includes "absent in both"; "changed"
// includes "new".
package plan

import "github.com/minio-sidecar/minio-sidecar/syncer/entry"

// Op is what is to be done about one path.
type Op uint8

const (
	None         Op = iota
	Upload          // the local state becomes the object, if the object is still what the plan saw
	Download        // the object becomes the local state, if that is still what the plan saw
	DeleteRemote    // the object goes, if it is still what the base says
	DeleteLocal     // the local entry goes, if it is still what the base says
	Resolve         // both sides changed: see [Winner]
	Forget          // gone on both sides: drop it from the base
)

func (o Op) String() string {
	return [...]string{"none", "upload", "download", "delete remote", "delete local", "resolve", "forget"}[o]
}

// Change is one side of a path as against the base.
type Change uint8

const (
	Same Change = iota
	Changed
	Deleted
)

// Item is one path as all three see it; nil means absent.
type Item struct {
	Key    string
	Local  *entry.Local
	Remote *entry.Remote
	Base   *entry.Base
}

// LocalChange compares the volume with the base.
func (i Item) LocalChange() Change {
	switch {
	case i.Local == nil && i.Base == nil:
		return Same
	case i.Local == nil:
		return Deleted
	case i.Base == nil:
		return Changed
	case i.Local.Kind == entry.Dir && i.Base.Local.Kind == entry.Dir:
		// A directory's size, times and inode say what happened to its
		// children; only its own attributes count.
		if i.Local.Attrs.SameDir(i.Base.Attrs) {
			return Same
		}
		return Changed
	case i.Local.Fingerprint == i.Base.Local:
		return Same
	}
	return Changed
}

// RemoteChange compares the bucket with the base.
func (i Item) RemoteChange() Change {
	switch {
	case i.Remote == nil && i.Base == nil:
		return Same
	case i.Remote == nil:
		return Deleted
	case i.Base == nil || i.Remote.ETag != i.Base.ETag:
		return Changed
	}
	return Same
}

// Decide is the table at the head of this package. About a Special or Opaque
// local entry nothing can be decided; it is for the caller to report.
func Decide(i Item) Op {
	if i.Local != nil && (i.Local.Kind == entry.Special || i.Local.Kind == entry.Opaque) {
		return None
	}
	return table[i.LocalChange()][i.RemoteChange()]
}

var table = [3][3]Op{
	Same:    {Same: None, Changed: Download, Deleted: DeleteLocal},
	Changed: {Same: Upload, Changed: Resolve, Deleted: Upload},
	Deleted: {Same: DeleteRemote, Changed: Download, Deleted: Forget},
}

// Rules narrow what may be done. The zero value forbids all writes to the
// bucket: the plan of restore and of read-only volumes.
type Rules struct {
	Push   bool // upload, and resolve conflicts in the volume's favour
	Delete bool // apply local deletions to the bucket; needs Push
}

// Allow returns op, or None where the rules forbid it. What is left undone
// stays visible as a difference, so that it is done once the rules change.
func (r Rules) Allow(op Op) Op {
	switch op {
	case Upload:
		if !r.Push {
			return None
		}
	case DeleteRemote:
		if !r.Push || !r.Delete {
			return None
		}
	}
	return op
}
