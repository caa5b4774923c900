package syncer

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// namedMax is how many paths that cannot be synced are kept by name.
const namedMax = 1000

// unsyncables are the paths that cannot be synced, each with its reason. There
// may be a million of them, because of one wrong owner: those beyond namedMax
// are kept as a fingerprint of the path and the kind of their reason. They are
// counted all the same, and get their names when there is room and a scan
// meets them again. Nobody can look whether there still is what a fingerprint
// was made of: those that a complete scan does not meet any more are dropped.
type unsyncables struct {
	room    int // for named
	seed    maphash.Seed
	named   map[string]note
	others  map[group]map[uint64]uint32 // fingerprints of keys, and in which scan they were met last
	scan    uint32                      // the number of the last one that has begun
	crowded bool                        // there were others
}

// group is what is known of a path that is not named.
type group struct {
	kind    string // of the reason
	missing bool
}

// note is why a path cannot be synced.
type note struct {
	reason string
	holding
}

// holding is what the volume has of a path.
type holding struct {
	here    bool // something
	missing bool // of which the bucket has not got this state
}

func newUnsyncables() *unsyncables {
	return &unsyncables{room: namedMax, seed: maphash.MakeSeed(), named: map[string]note{}, others: map[group]map[uint64]uint32{}}
}

// kindOf "permission: open a/b: …" is what comes first, which is one of a few.
func kindOf(reason string) string {
	kind, _, _ := strings.Cut(reason, ": ")
	return kind
}

// told is what a new note of an unsyncable path is to a reader of the log.
type told uint8

const (
	oldNews    told = iota
	byName          // to be told with the path
	first           // of those that are only counted: to be told that there are such
	countedToo      // one more of those
)

func (u *unsyncables) put(key, reason string, h holding) told {
	if old, ok := u.named[key]; ok {
		u.named[key] = note{reason, h}
		if old.reason == reason {
			return oldNews
		}
		return byName
	}
	print, of := maphash.String(u.seed, key), group{kindOf(reason), h.missing}
	_, known := u.others[of][print]
	if known && len(u.named) >= u.room {
		u.others[of][print] = u.scan
		return oldNews
	}
	u.dropOther(print)
	switch {
	case len(u.named) < u.room:
		u.named[key] = note{reason, h}
		return byName
	case u.others[of] == nil:
		u.others[of] = map[uint64]uint32{}
	}
	u.others[of][print] = u.scan
	if !u.crowded {
		u.crowded = true
		return first
	}
	return countedToo
}

// begin is to be called before a scan of everything, and what it returns with
// complete when that has ended well.
func (u *unsyncables) begin() (scan uint32) {
	u.scan++
	return u.scan
}

// complete drops the others that a scan has not met. What it has met is noted
// anew by now, or about to be: then it is pending as long. A scan that did not
// list the bucket meets all that is missing there, and nothing is concluded of
// what is not.
func (u *unsyncables) complete(scan uint32, listed bool) {
	for of, prints := range u.others {
		if !of.missing && !listed {
			continue
		}
		maps.DeleteFunc(prints, func(_ uint64, met uint32) bool { return met < scan })
		if len(prints) == 0 {
			delete(u.others, of)
		}
	}
}

func (u *unsyncables) has(key string) bool {
	if _, named := u.named[key]; named || len(u.others) == 0 {
		return named
	}
	print := maphash.String(u.seed, key)
	for _, prints := range u.others {
		if _, ok := prints[print]; ok {
			return true
		}
	}
	return false
}

// drop takes the note of key away, and reports whether it was named.
func (u *unsyncables) drop(key string) (named bool) {
	if _, named = u.named[key]; named {
		delete(u.named, key)
	} else if len(u.others) > 0 {
		u.dropOther(maphash.String(u.seed, key))
	}
	return named
}

func (u *unsyncables) dropOther(print uint64) {
	for of, prints := range u.others {
		if delete(prints, print); len(prints) == 0 {
			delete(u.others, of)
		}
	}
}

// report counts all by kind, and names the first few.
func (u *unsyncables) report(shown int) (total int64, byKind map[string]int64, paths []status.PathReason) {
	byKind = map[string]int64{}
	for key, n := range u.named {
		byKind[kindOf(n.reason)]++
		paths = append(paths, status.PathReason{Path: legible(key), Reason: legible(n.reason)})
	}
	for of, prints := range u.others {
		byKind[of.kind] += int64(len(prints))
	}
	for _, n := range byKind {
		total += n
	}
	sortPaths(paths)
	return total, byKind, paths[:min(len(paths), shown)]
}

// missing counts those that the volume has and the bucket has not, and names
// the first few.
func (u *unsyncables) missing(shown int) (total int64, paths []status.PathReason) {
	for key, n := range u.named {
		if n.missing {
			paths = append(paths, status.PathReason{Path: legible(key), Reason: legible(n.reason)})
		}
	}
	total = int64(len(paths))
	for of, prints := range u.others {
		if of.missing {
			total += int64(len(prints))
		}
	}
	sortPaths(paths)
	return total, paths[:min(len(paths), shown)]
}

func sortPaths(paths []status.PathReason) {
	slices.SortFunc(paths, func(a, b status.PathReason) int { return cmp.Compare(a.Path, b.Path) })
}

// inVolume are the named keys below dir that are in the volume.
func (u *unsyncables) inVolume(dir string) []string {
	var keys []string
	for key, n := range u.named {
		if n.here && strings.HasPrefix(key, dir) {
			keys = append(keys, key)
		}
	}
	return keys
}

// legible is s with each byte that is no part of a UTF-8 character written as
// \xff. JSON would have them all look alike.
func legible(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[0])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func (e *Engine) unsyncable(key, reason string) {
	switch e.state.unsync(key, reason, e.holds(key)) {
	case byName:
		e.log.Warn("path cannot be synced", "path", key, "reason", reason)
	case first:
		e.log.Warn("too many paths cannot be synced to name each; the status counts all of them",
			"named", namedMax, "path", key, "reason", reason)
	}
}

// synced takes back that key cannot be synced. A folder that could not be read
// may be full of what is not known yet.
func (e *Engine) synced(key string) {
	if e.state.unsynced(key) && entry.IsDir(key) {
		e.requestScan(key)
	}
}

// inVolume reports whether the volume has, or may have, what key means.
func (e *Engine) inVolume(key string) bool { return e.holds(key).here }

// holds tells what the volume has, or may have, of what key means. A socket, a
// FIFO or a device has nothing that could be missing in the bucket, and what is
// mounted in the volume is not the volume's.
func (e *Engine) holds(key string) holding {
	if tree.ValidKey(key) != nil {
		return holding{}
	}
	l, marked, ok, err := e.tree.Lookup(key)
	switch {
	case err != nil:
		return holding{here: true, missing: true}
	case !ok || entry.IsDir(key) != isFolder(l):
		return holding{}
	case l.Kind == entry.Special || l.Reason == tree.ReasonMount:
		return holding{here: true}
	}
	b, err := e.base.Get(key)
	if l.Kind == entry.Dir && !marked && b == nil && err == nil {
		return holding{} // it was empty a moment ago, and needs no object any more
	}
	agreed := err == nil && b != nil && plan.Item{Local: &l, Base: b}.LocalChange() == plan.Same
	return holding{here: true, missing: !agreed}
}

// isFolder reports whether l is a folder, be it one that cannot be read.
func isFolder(l entry.Local) bool { return l.Kind == entry.Dir || l.Kind == entry.Opaque }
