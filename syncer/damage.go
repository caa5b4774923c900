package syncer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// MinIO with a single drive removes an object that fails its bit-rot check when
// it is read. To everybody but the one who read it that looks like a deletion,
// and a volume that has the last good copy would follow it. So who finds an
// object damaged leaves word in the bucket, and who is about to delete a file
// because its object is gone looks for that first.

// errVanished: an object that was there could not be read, and then was gone.
var errVanished = errors.New("the store could not read the object and then dropped it")

// load downloads an object, and sees to it that a damaged one is not taken for
// one that somebody has deleted.
func (e *Engine) load(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (store.Object, error) {
	obj, err := e.store.Download(ctx, e.cfg.Prefix+key, etag, size, e.odometer.through(dst))
	switch {
	case errors.Is(err, store.ErrDamaged):
		e.noteDamaged(ctx, key)
	case errors.Is(err, store.ErrUnreachable):
		if _, again := e.store.Stat(ctx, e.cfg.Prefix+key); errors.Is(again, store.ErrNotFound) {
			return obj, e.sawVanish(ctx, key)
		}
	}
	return obj, err
}

// sawVanish is the error of an object that the store has dropped. A restore
// remembers it beyond its process: to the next attempt it looks deleted.
func (e *Engine) sawVanish(ctx context.Context, key string) error {
	e.noteDamaged(ctx, key)
	err := vanished(key)
	if !e.restoring() {
		return err
	}
	return errors.Join(missed(err), e.rememberVanished(key))
}

func vanished(key string) error {
	return fmt.Errorf("download %s: %w: %w", key, store.ErrDamaged, errVanished)
}

func missed(err error) error {
	return fmt.Errorf("%w; bring it back (from a version, or by a sync of a volume that has a copy), or replace the pod to start without it", err)
}

// damageNote is where word is left of key.
func (e *Engine) damageNote(key string) string {
	sum := sha256.Sum256([]byte(key)) // which has room in any key
	return e.cfg.Prefix + contract.DamagedPrefix + hex.EncodeToString(sum[:])
}

// noteDamaged leaves word, as well as it can: credentials that may only read
// are no reason to fail otherwise than by what was found. Of a past state there
// is nothing to say.
func (e *Engine) noteDamaged(ctx context.Context, key string) {
	if e.isFrozen() {
		return
	}
	_, err := e.send(ctx, store.Upload{
		Key: e.damageNote(key), Body: strings.NewReader(key), Size: int64(len(key)),
		Condition: store.Condition{IfAbsent: true},
	})
	if err != nil && !errors.Is(err, store.ErrPrecondition) {
		e.log.Warn("could not leave word of a damaged object: other pods may take it for deleted", "path", key, "error", err)
	}
}

// notedDamaged reports whether somebody has left word.
func (e *Engine) notedDamaged(ctx context.Context, key string) (bool, error) {
	if e.isFrozen() {
		return false, nil
	}
	_, err := e.store.Stat(ctx, e.damageNote(key))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// heal puts the volume's copy in the place of a damaged object, or of nothing
// where that is gone. Where nothing may be uploaded the copy stays as it is.
func (e *Engine) heal(ctx context.Context, w dirty.Work, item plan.Item) (result, error) {
	if !e.currentRules().Push {
		return result{}, nil
	}
	if err := e.disown(item); err != nil {
		return result{}, err
	}
	r, err := e.upload(ctx, w, item)
	if err != nil {
		return r, err
	}
	e.log.Warn("an object was damaged: the volume's copy is in its place now", "path", item.Key)
	e.dropNote(ctx, item.Key)
	return r, nil
}

// disown has the base say no more that the bucket has what the volume has. From
// then on this is a change like any other: whatever becomes of the upload, it is
// tried again, also by the next process, and a flush does not end well without.
func (e *Engine) disown(item plan.Item) error {
	if item.Remote != nil {
		return e.record(item.Key, behind(item.Key, item.Remote.ETag))
	}
	return e.record(item.Key, nil)
}

// dropNote takes the word back. A note that stays may be taken once more for
// what it says: then a file comes back that somebody has deleted.
func (e *Engine) dropNote(ctx context.Context, key string) {
	if err := e.store.Delete(ctx, e.damageNote(key), ""); err != nil {
		e.log.Warn("could not take away the note of a damaged object", "path", key, "error", err)
	}
}

const (
	// mendPace is how many looks at the other writers come between two looks for
	// damage that others have found.
	mendPace = 20
	// notesMax is how many notes one look is about.
	notesMax = 10_000
	// pauseMax is how many looks leave out a note that always stays: eight hours.
	pauseMax = 1 << 9
)

// mendLoop looks for objects that were found damaged. A pod whose restore has
// found them cannot start before they are whole, and this volume may be the one
// that has them.
func (e *Engine) mendLoop(ctx context.Context) {
	if e.readOnly() {
		return
	}
	select {
	case <-e.inStep:
	case <-ctx.Done():
		return
	}
	m, p := mender{map[noteID]pause{}}, newPacer(e.gate, retryMost)
	for {
		err := m.mendAll(ctx, e)
		if err != nil {
			e.log.Debug("could not look for notes of damaged objects; will try again", "error", err)
		}
		if p.after(ctx, mendPace*e.attendEvery, err) != nil {
			return
		}
	}
}

// mender remembers the notes of the last look. What is done about one may cost
// the download of a large object, so one that is there again is left in peace
// for twice as many looks each time.
type mender struct{ pauses map[noteID]pause }

// noteID tells a note from a later one of the same object.
type noteID struct {
	key     string
	written int64
}

// pause is how many looks leave a note out, and how many are left of them.
type pause struct{ length, left int }

func (m *mender) mendAll(ctx context.Context, e *Engine) error {
	now := map[noteID]pause{}
	for note, err := range e.store.List(ctx, e.cfg.Prefix+contract.DamagedPrefix) {
		if err != nil {
			maps.Copy(m.pauses, now)
			return err
		}
		if len(now) == notesMax {
			break
		}
		id := noteID{note.Key, note.LastModified.UnixNano()}
		p := m.pauses[id]
		if p.left > 0 {
			now[id] = pause{p.length, p.left - 1}
			continue
		}
		longer := min(2*p.length+1, pauseMax)
		now[id] = pause{longer, longer - 1}
		if err := e.heed(ctx, note); err != nil {
			e.log.Debug("could not mend an object; will try again", "note", note.Key, "error", err)
		}
	}
	m.pauses = now
	return nil
}

// heed does what one note asks for. Anybody may have written it.
func (e *Engine) heed(ctx context.Context, note store.Object) error {
	if note.Size > store.MaxKey {
		return nil
	}
	text, _, err := e.store.Read(ctx, note.Key)
	if err != nil {
		return err
	}
	key := string(text)
	if note.Key != e.damageNote(key) || tree.ValidKey(key) != nil || !e.filter.Match(key) {
		return nil
	}
	return e.mend(ctx, key)
}

// mend replaces an object that cannot be read, if the volume has the state that
// it was in: otherwise that is for another volume to do, and not even looked
// into. An object that is gone is a deletion to the plan, which then heals it;
// and one that can be read needs no note.
func (e *Engine) mend(ctx context.Context, key string) error {
	item, err := e.item(key, nil)
	if err != nil || item.Local == nil || item.Base == nil || item.LocalChange() != plan.Same {
		return err
	}
	obj, err := e.store.Stat(ctx, e.cfg.Prefix+key)
	if err == nil {
		if obj.ETag != item.Base.ETag {
			return nil
		}
		_, err = e.load(ctx, key, obj.ETag, obj.Size, &comparison{})
	}
	switch {
	case err == nil:
		e.dropNote(ctx, key)
		return nil
	case errors.Is(err, store.ErrNotFound), errors.Is(err, errVanished):
		return e.dirty.Found(ctx, key, &dirty.Remote{})
	case !errors.Is(err, store.ErrDamaged):
		return err
	}
	item.Remote = &entry.Remote{Key: key, ETag: obj.ETag}
	r, err := e.heal(ctx, dirty.Work{Key: key}, item)
	if err == nil && r.put != nil {
		err = e.record(key, r.put)
	}
	if err != nil {
		e.dirty.Touch(key)
	}
	return err
}

// No key has one in it, since no path has.
const metaSeparator = "\x00"

func (e *Engine) rememberVanished(key string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	known, err := e.base.Meta(metaDamaged)
	if err != nil {
		return err
	}
	switch {
	case known == "":
		known = key
	case slices.Contains(strings.Split(known, metaSeparator), key):
		return nil
	default:
		known += metaSeparator + key
	}
	return e.base.SetMeta(metaDamaged, known)
}

// missVanished ends in an error as long as an object is missing that an earlier
// attempt at this restore has seen vanish.
func (e *Engine) missVanished(ctx context.Context) error {
	known, err := e.base.Meta(metaDamaged)
	if err != nil || known == "" {
		return err
	}
	for key := range strings.SplitSeq(known, metaSeparator) {
		there := false
		err := e.insist(ctx, fatalForRestore, func() error {
			_, err := e.store.Stat(ctx, e.cfg.Prefix+key)
			if there = err == nil; errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			return err
		})
		if err != nil {
			return err
		}
		if !there {
			return missed(vanished(key))
		}
	}
	return e.base.SetMeta(metaDamaged, "")
}
