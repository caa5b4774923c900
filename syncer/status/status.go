// Package status is what a running syncer says of itself: the value that
// `syncer status -o json` prints, that probes read and progress is drawn from.
package status

import "time"

// Phase is what the syncer is busy with.
type Phase string

const (
	Starting  Phase = "starting"
	Restoring Phase = "restoring"
	Syncing   Phase = "syncing"
	Flushing  Phase = "flushing" // the last flush, after SIGTERM
	Stopped   Phase = "stopped"
)

// Condition is the one thing that is wrong, or OK. Only one holds at a time.
type Condition string

const (
	OK           Condition = "ok"
	Unreachable  Condition = "store-unreachable"
	AccessDenied Condition = "access-denied"
	ClocksDiffer Condition = "clocks-differ" // from the store's, by more than it accepts
	NoBucket     Condition = "no-bucket"
	StoreFull    Condition = "store-full"
	VolumeFull   Condition = "volume-full"
	Damaged      Condition = "damaged-data"
	Halted       Condition = "halted" // deletes wait for a person; see Status.Halted
	Failing      Condition = "failing"
	// StateUnwritable: the state volume takes nothing, so that nothing can be
	// acknowledged.
	StateUnwritable Condition = "state-unwritable"
)

// Conditions are all that there are.
func Conditions() []Condition {
	return []Condition{OK, Unreachable, AccessDenied, ClocksDiffer, NoBucket, StoreFull, VolumeFull, StateUnwritable, Damaged, Halted, Failing}
}

// Status is a snapshot. Every path of the volume is synced, pending or
// unsyncable, and counted once.
type Status struct {
	Phase     Phase     `json:"phase"`
	Condition Condition `json:"condition"`
	// Message says in a sentence what is wrong and what to do; empty when OK.
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"`

	Bucket   string `json:"bucket"`
	Prefix   string `json:"prefix,omitempty"`
	Endpoint string `json:"endpoint"`
	Mode     string `json:"mode"`

	// Restored: the volume has held a complete restore; the app may start.
	Restored bool `json:"restored"`
	// Watching: file events are being received for the whole volume.
	Watching bool `json:"watching"`

	Synced     int64 `json:"synced"`
	Pending    int64 `json:"pending"`
	Unsyncable int64 `json:"unsyncable"`
	// OldestPendingSeconds is how much the loss of the node would cost now.
	OldestPendingSeconds float64 `json:"oldestPendingSeconds"`
	// PendingPaths and UnsyncablePaths are the first few, for people.
	PendingPaths    []PathReason `json:"pendingPaths,omitempty"`
	UnsyncablePaths []PathReason `json:"unsyncablePaths,omitempty"`
	// UnsyncableByReason counts all of them. Its keys are a handful of fixed
	// phrases, never a path or an error's text: they become metric labels.
	UnsyncableByReason map[string]int64 `json:"unsyncableByReason,omitempty"`

	// HardLinks is the number of paths that share their file with another
	// name, as the last full scan found. Each is an object of its own.
	HardLinks int64 `json:"hardLinks,omitempty"`

	// HaltedDeletes is the number of deletions that the mass-delete guard
	// holds back; `syncer flush --confirm-deletes` lets them go.
	HaltedDeletes int64 `json:"haltedDeletes"`

	// OtherWriters are the other sync sidecars seen on this prefix.
	OtherWriters []string `json:"otherWriters,omitempty"`

	// Notes are what the user should know of: limits of this store or machine,
	// and what deletions wait for, if they do for long.
	Notes []string `json:"notes,omitempty"`

	Progress Progress `json:"progress"`
}

// PathReason is a path and why it is not synced.
type PathReason struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Progress counts the work of the current restore, or since sync started.
type Progress struct {
	FilesDone  int64 `json:"filesDone"`
	FilesTotal int64 `json:"filesTotal"` // 0 while the listing is not complete
	BytesDone  int64 `json:"bytesDone"`
	BytesTotal int64 `json:"bytesTotal"`
}
