package plan_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
)

// A world is one bucket and the volumes that follow it, in memory. It carries
// plans out as the engine does: what is read may be old by the time it is
// acted upon, and each write is conditional on what the plan saw.
type world struct {
	remote  map[string]state
	volumes []*volume

	// disturb, where set, runs between each decision about a key and its effect.
	disturb func(key string)
	// dead has the contents that somebody overwrote or deleted on purpose.
	// Every other content that ever was must be somewhere, always.
	dead    map[int]bool
	fresh   int // the last content that was made up
	serial  uint64
	seconds int64
	steps   int // what was done so far
}

// state is what a path holds: equal ids are equal bytes. Folders hold only
// their permissions, which are not worth keeping twice.
type state struct {
	id    int
	kind  entry.Kind
	mtime entry.Time
	write uint64 // which write of the local file made it; 0 in the bucket
}

func (s state) etag() string { return fmt.Sprintf("%s-%d", s.kind, s.id) }

func (s state) equals(other state) bool { return s.id == other.id && s.kind == other.kind }

type volume struct {
	name  string
	rules plan.Rules
	local map[string]state
	base  map[string]entry.Base
	// blocked has the keys that could not be written because a file stands
	// where a folder should be, or the reverse.
	blocked map[string]bool
}

func newWorld(rules ...plan.Rules) *world {
	w := &world{remote: map[string]state{}, dead: map[int]bool{}}
	for i, r := range rules {
		w.volumes = append(w.volumes, &volume{
			name: string(rune('A' + i)), rules: r,
			local: map[string]state{}, base: map[string]entry.Base{}, blocked: map[string]bool{},
		})
	}
	return w
}

// What people, apps and other clients of the bucket do.

// write puts a state at key, and removes what is in its way.
func (w *world) write(v *volume, key string, s state) {
	for other := range v.local {
		if inTheWay(other, key) {
			w.remove(v, other)
		}
	}
	if old := v.local[key]; old.id != s.id {
		w.bury(old)
	}
	w.serial++
	s.write = w.serial
	v.local[key] = s
}

func (w *world) remove(v *volume, key string) {
	w.bury(v.local[key])
	delete(v.local, key)
}

// put is done by a client that knows nothing of folders.
func (w *world) put(key string, s state) {
	w.bury(w.remote[key])
	w.remote[key] = s
}

func (w *world) drop(key string) {
	w.bury(w.remote[key])
	delete(w.remote, key)
}

func (w *world) bury(s state) {
	w.dead[s.id] = true
}

// make returns a content that never was.
func (w *world) make(kind entry.Kind, mtime int64) state {
	w.fresh++
	if kind == entry.Dir { // nobody will miss it
		w.dead[w.fresh] = true
	}
	return state{id: w.fresh, kind: kind, mtime: entry.Time{Sec: mtime}}
}

// inTheWay reports whether a file system cannot hold both.
func inTheWay(a, b string) bool {
	return a != b && (entry.Path(a) == entry.Path(b) || above(a, b) || above(b, a))
}

// above reports whether a is a file where b needs a folder.
func above(a, b string) bool { return !entry.IsDir(a) && strings.HasPrefix(b, a+"/") }

// lost returns a content that is nowhere although nobody meant it to go.
func (w *world) lost() (int, bool) {
	there := map[int]bool{}
	note := func(states map[string]state) {
		for _, s := range states {
			there[s.id] = true
		}
	}
	note(w.remote)
	for _, v := range w.volumes {
		note(v.local)
	}
	for id := 1; id <= w.fresh; id++ {
		if !there[id] && !w.dead[id] {
			return id, true
		}
	}
	return 0, false
}

// What the syncer does.

var (
	errPrecondition = errors.New("the object is not what the plan saw")
	errChanged      = errors.New("the local entry is not what the plan saw")
	errBlocked      = errors.New("something else is in the way")
)

// job is one key of a plan, with what the listing said of it.
type job struct {
	v    *volume
	key  string
	seen *entry.Remote
}

// plan lists both sides of v and returns what is to be done.
func (w *world) plan(v *volume) (jobs []job) {
	items := plan.Merge(
		sorted(v.local, localOf), sorted(w.remote, remoteOf),
		sorted(v.base, func(_ string, b entry.Base) entry.Base { return b }))
	for item, err := range items {
		if err != nil {
			panic(err)
		}
		if v.rules.Allow(plan.Decide(item)) != plan.None {
			jobs = append(jobs, job{v, item.Key, item.Remote})
		}
	}
	return jobs
}

// do looks at one key and does what there is to do. It reports whether it is
// settled; otherwise somebody was faster, and it is to be looked at again.
func (w *world) do(j job) bool {
	seen := j.seen
	for range 4 {
		item := w.item(j.v, j.key, seen)
		op := j.v.rules.Allow(plan.Decide(item))
		err := w.apply(j.v, item, op)
		switch {
		case err == nil:
			if op != plan.None {
				w.steps++
			}
			return true
		case errors.Is(err, errBlocked):
			j.v.blocked[j.key] = true
			return true
		case errors.Is(err, errChanged):
			return false
		}
		seen = w.stat(j.key)
	}
	return false
}

func (w *world) item(v *volume, key string, seen *entry.Remote) plan.Item {
	item := plan.Item{Key: key, Remote: seen}
	if s, ok := v.local[key]; ok {
		l := localOf(key, s)
		item.Local = &l
	}
	if b, ok := v.base[key]; ok {
		item.Base = &b
	}
	return item
}

func (w *world) stat(key string) *entry.Remote {
	s, ok := w.remote[key]
	if !ok {
		return nil
	}
	r := remoteOf(key, s)
	return &r
}

func (w *world) apply(v *volume, item plan.Item, op plan.Op) error {
	if op == plan.None {
		return nil
	}
	if w.disturb != nil {
		w.disturb(item.Key)
	}
	switch op {
	case plan.Upload:
		return w.upload(v, item)
	case plan.Download:
		return w.download(v, item)
	case plan.Resolve:
		return w.resolve(v, item)
	case plan.DeleteRemote:
		if item.Base == nil || !v.rules.Push || !v.rules.Delete {
			panic("deletes an object although it may not: " + item.Key)
		}
		if w.remote[item.Key].etag() != item.Base.ETag {
			return errPrecondition
		}
		delete(w.remote, item.Key)
		delete(v.base, item.Key)
	case plan.DeleteLocal:
		if item.Base == nil {
			panic("deletes a local entry that is not in the base: " + item.Key)
		}
		if w.stat(item.Key) != nil {
			return errPrecondition
		}
		if err := v.unchanged(item); err != nil {
			return err
		}
		delete(v.local, item.Key)
		delete(v.base, item.Key)
	case plan.Forget:
		delete(v.base, item.Key)
	}
	return nil
}

func (w *world) upload(v *volume, item plan.Item) error {
	if !v.rules.Push {
		panic("uploads although it may not: " + item.Key)
	}
	if err := v.unchanged(item); err != nil {
		return err // torn while it was read
	}
	if !w.matches(item) {
		return errPrecondition
	}
	s := v.local[item.Key]
	s.write = 0
	w.remote[item.Key] = s
	v.agree(item.Key, s.etag())
	return nil
}

func (w *world) download(v *volume, item plan.Item) error {
	if item.Remote == nil || !w.matches(item) {
		return errPrecondition
	}
	if err := v.unchanged(item); err != nil {
		return err
	}
	s := w.remote[item.Key]
	if err := w.place(v, item.Key, s); err != nil {
		return err
	}
	v.agree(item.Key, s.etag())
	return nil
}

func (w *world) resolve(v *volume, item plan.Item) error {
	if !w.matches(item) {
		return errPrecondition
	}
	if err := v.unchanged(item); err != nil {
		return err
	}
	mine, theirs := v.local[item.Key], w.remote[item.Key]
	if mine.equals(theirs) {
		v.agree(item.Key, theirs.etag())
		return nil
	}
	if entry.IsDir(item.Key) {
		return w.download(v, item)
	}
	w.seconds++
	aside := plan.ConflictPath(item.Key, v.name, time.Unix(w.seconds, 0), 1024)
	if plan.Winner(mine.mtime, theirs.mtime) == plan.RemoteSide {
		if err := w.place(v, aside, mine); err != nil {
			return err
		}
		delete(v.local, item.Key)
		item.Local = nil
		return w.download(v, item)
	}
	if err := w.place(v, aside, theirs); err != nil {
		return err
	}
	v.base[item.Key] = entry.Base{Key: item.Key, Local: entry.Fingerprint{Kind: entry.File}, ETag: theirs.etag()}
	return nil
}

// matches reports whether the object is what the plan saw.
func (w *world) matches(item plan.Item) bool {
	s, ok := w.remote[item.Key]
	if item.Remote == nil {
		return !ok
	}
	return ok && s.etag() == item.Remote.ETag
}

func (v *volume) unchanged(item plan.Item) error {
	s, ok := v.local[item.Key]
	if ok != (item.Local != nil) || ok && localOf(item.Key, s).Fingerprint != item.Local.Fingerprint {
		return errChanged
	}
	return nil
}

// place writes what came from the bucket, where the file system has room.
func (w *world) place(v *volume, key string, s state) error {
	for other := range v.local {
		if inTheWay(other, key) {
			return errBlocked
		}
	}
	w.serial++
	s.write = w.serial
	v.local[key] = s
	return nil
}

func (v *volume) agree(key, etag string) {
	l := localOf(key, v.local[key])
	v.base[key] = entry.Base{Key: key, Local: l.Fingerprint, Attrs: l.Attrs, ETag: etag}
}

func localOf(key string, s state) entry.Local {
	return entry.Local{
		Key:         key,
		Fingerprint: entry.Fingerprint{Kind: s.kind, MTime: s.mtime, Inode: s.write},
		Attrs:       entry.Attrs{MTime: s.mtime, Perm: uint32(s.id)},
	}
}

func remoteOf(key string, s state) entry.Remote {
	return entry.Remote{Key: key, ETag: s.etag(), MTime: s.mtime}
}

func sorted[V, T any](m map[string]V, of func(string, V) T) func(func(T, error) bool) {
	return func(yield func(T, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(of(key, m[key]), nil) {
				return
			}
		}
	}
}

// settle lets all volumes sync, each to its end in turn, until none can do
// anything more. It reports whether that came to an end.
func (w *world) settle() bool {
	for range 20 {
		before := w.steps
		for _, v := range w.volumes {
			clear(v.blocked)
			for _, j := range w.plan(v) {
				w.do(j)
			}
		}
		if w.steps == before {
			return true
		}
	}
	return false
}
