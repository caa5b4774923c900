// Package writers lets the sync sidecars of one prefix know of each other, by
// one small object each under <prefix>.minio-sidecar/writers/.
//
// Clocks are never compared across machines: an object that has not changed
// for a while, as the observer's own clock measures it, belongs to a writer
// that is gone.
package writers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

const (
	renewEvery = 30 * time.Second // how often a writer says that it is there
	goneAfter  = 90 * time.Second // silence after which it is taken for gone
	// tidyAfter is when the object of a writer that left is removed; by the
	// store's clock alone: it is compared with our own object's.
	tidyAfter = 24 * time.Hour
	// maxPresence is more than any presence has in bytes. What is larger is
	// something else, and not worth reading.
	maxPresence = 4096
)

// State of a writer.
const (
	active   = "active"
	released = "released"
)

// presence is the object's content.
type presence struct {
	Writer string `json:"writer"`
	State  string `json:"state"`
	Beat   uint64 `json:"beat"` // makes each renewal another object
}

// ErrForgotten: our own presence is gone from the bucket although we announced
// it; somebody emptied the prefix or made the bucket anew.
var ErrForgotten = errors.New("presence of this writer was removed from the bucket")

// Store is what a roster needs of [store.Store].
type Store interface {
	List(ctx context.Context, prefix string) iter.Seq2[store.Object, error]
	Read(ctx context.Context, key string) ([]byte, store.Object, error)
	Upload(ctx context.Context, u store.Upload) (store.Object, error)
	Delete(ctx context.Context, key, etag string) error
}

// Roster is one writer's view of all writers. It is not safe for concurrent use.
type Roster struct {
	store  Store
	prefix string
	id     string

	beat    uint64
	renewed time.Time           // zero before Announce
	seen    map[string]sighting // by key
	news    bool                // not told yet
}

type sighting struct {
	etag  string
	state string
	at    time.Time // when the ETag was first seen, by our clock
	gone  bool      // it has been silent for too long
}

// New returns the view of the writer id of the prefix, which is "" or ends in "/".
func New(s Store, prefix, id string) *Roster {
	return &Roster{store: s, prefix: prefix + contract.WritersPrefix, id: id, seen: map[string]sighting{}}
}

func (r *Roster) keyOf(id string) string { return r.prefix + id + ".json" }

func (r *Roster) key() string { return r.keyOf(r.id) }

// Announce says that this writer is there.
func (r *Roster) Announce(ctx context.Context) error {
	err := r.put(ctx, r.id, active)
	if err == nil {
		r.renewed = time.Now()
	}
	return err
}

// Dismiss says of a writer that it is there no more, which had no time to say so
// itself.
func (r *Roster) Dismiss(ctx context.Context, id string) error {
	state, _, err := r.read(ctx, store.Object{Key: r.keyOf(id)})
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && state == released:
		return nil
	case err != nil:
		return fmt.Errorf("look at writer %s: %w", id, err)
	}
	return r.put(ctx, id, released)
}

// Release says that this writer has flushed and is leaving.
func (r *Roster) Release(ctx context.Context) error {
	if r.renewed.IsZero() {
		return nil
	}
	return r.put(ctx, r.id, released)
}

func (r *Roster) put(ctx context.Context, id, state string) error {
	r.beat++
	body, err := json.Marshal(presence{Writer: id, State: state, Beat: r.beat})
	if err != nil {
		return err
	}
	// Unconditional: the id is ours alone, and after a long partition there
	// is nothing to be gained from remembering the ETag.
	_, err = r.store.Upload(ctx, store.Upload{
		Key: r.keyOf(id), Body: bytes.NewReader(body), Size: int64(len(body)),
	})
	if err != nil {
		return fmt.Errorf("announce writer %s: %w", id, err)
	}
	return nil
}

// Look renews our own presence when that is due and returns the ids of the
// other writers that are there now, in order. news: one has come, changed its
// state or left since the last look that succeeded, so the bucket may hold
// something new even if nobody is there any more. To the first look everybody
// is news.
func (r *Roster) Look(ctx context.Context) (others []string, news bool, err error) {
	announced := !r.renewed.IsZero()
	if !announced { // before looking, so that of two who come at once one sees the other
		if err := r.Announce(ctx); err != nil {
			return nil, false, err
		}
	}
	found := map[string]store.Object{}
	for obj, err := range r.store.List(ctx, r.prefix) {
		if err != nil {
			return nil, false, fmt.Errorf("look for other writers: %w", err)
		}
		if strings.HasSuffix(obj.Key, ".json") {
			found[obj.Key] = obj
		}
	}
	ours, there := found[r.key()]
	delete(found, r.key())
	if announced && !there {
		return nil, false, r.missing(ctx)
	}
	if time.Since(r.renewed) >= renewEvery {
		if err := r.Announce(ctx); err != nil {
			return nil, false, err
		}
	}
	for key, obj := range found {
		if err := r.sight(ctx, key, obj); err != nil {
			return nil, false, err
		}
		if s := r.seen[key]; s.state == active && !s.gone {
			others = append(others, strings.TrimSuffix(path.Base(key), ".json"))
		} else if ours.LastModified.Sub(obj.LastModified) > tidyAfter {
			r.tidy(ctx, key, obj.ETag)
		}
	}
	for key := range r.seen {
		if _, there := found[key]; !there {
			delete(r.seen, key)
			r.news = true
		}
	}
	slices.Sort(others)
	news, r.news = r.news, false
	return others, news, nil
}

// missing says what it means that a listing lacks our own object: it is gone,
// or something in between answers for the store with a listing that is none.
func (r *Roster) missing(ctx context.Context) error {
	_, _, err := r.store.Read(ctx, r.key())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return ErrForgotten
	case err != nil:
		return fmt.Errorf("look for other writers: %w", err)
	}
	return fmt.Errorf("look for other writers: the listing lacks %s, which is there: %w", r.key(), store.ErrUnreachable)
}

// sight notes the state of another writer, reading its object only when that
// has changed.
func (r *Roster) sight(ctx context.Context, key string, obj store.Object) error {
	s, known := r.seen[key]
	if known && s.etag == obj.ETag {
		if s.state == active && !s.gone && time.Since(s.at) >= goneAfter {
			s.gone = true
			r.seen[key] = s
			r.news = true
		}
		return nil
	}
	state, etag, err := r.read(ctx, obj)
	if errors.Is(err, store.ErrNotFound) {
		return nil // left between the listing and now: the next look will see
	}
	if err != nil {
		return fmt.Errorf("look at writer %s: %w", path.Base(key), err)
	}
	r.seen[key] = sighting{etag: etag, state: state, at: time.Now()}
	r.news = r.news || !known || s.gone || s.state != state
	return nil
}

// read returns the state that an object tells of. What cannot be read is taken
// for a writer: pulling too often does no harm.
func (r *Roster) read(ctx context.Context, obj store.Object) (state, etag string, err error) {
	if obj.Size > maxPresence {
		return active, obj.ETag, nil
	}
	body, read, err := r.store.Read(ctx, obj.Key)
	switch {
	case errors.Is(err, store.ErrDamaged), errors.Is(err, store.ErrAccessDenied):
		return active, obj.ETag, nil
	case err != nil:
		return "", "", err
	}
	var p presence
	if err := json.Unmarshal(body, &p); err != nil || p.State != released {
		return active, read.ETag, nil
	}
	return released, read.ETag, nil
}

// tidy removes what a writer has left behind. If that fails the next look, or
// another writer, will do it.
func (r *Roster) tidy(ctx context.Context, key, etag string) {
	if r.store.Delete(ctx, key, etag) == nil {
		delete(r.seen, key)
	}
}
