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

// Roster is one writer's view of all writers. It is not safe for concurrent use.
type Roster struct {
	store  store.Store
	prefix string
	id     string

	beat    uint64
	etag    string // of our own object; "" before Announce
	renewed time.Time
	seen    map[string]sighting // by key
}

type sighting struct {
	etag  string
	state string
	at    time.Time // when the ETag was first seen, by our clock
}

// New returns the view of the writer id of the prefix, which is "" or ends in "/".
func New(s store.Store, prefix, id string) *Roster {
	return &Roster{store: s, prefix: prefix + contract.WritersPrefix, id: id, seen: map[string]sighting{}}
}

func (r *Roster) key() string { return r.prefix + r.id + ".json" }

// Announce says that this writer is there.
func (r *Roster) Announce(ctx context.Context) error { return r.put(ctx, active) }

// Release says that this writer has flushed and is leaving.
func (r *Roster) Release(ctx context.Context) error {
	if r.etag == "" {
		return nil
	}
	return r.put(ctx, released)
}

func (r *Roster) put(ctx context.Context, state string) error {
	r.beat++
	body, err := json.Marshal(presence{Writer: r.id, State: state, Beat: r.beat})
	if err != nil {
		return err
	}
	// Unconditional: the id is ours alone, and after a long partition there
	// is nothing to be gained from remembering the ETag.
	obj, err := r.store.Upload(ctx, store.Upload{
		Key: r.key(), Body: bytes.NewReader(body), Size: int64(len(body)),
	})
	if err != nil {
		return fmt.Errorf("announce writer %s: %w", r.id, err)
	}
	r.etag, r.renewed = obj.ETag, time.Now()
	return nil
}

// Look renews our own presence when that is due and returns the ids of the
// other writers that are there now, in order. news: one has come, changed its
// state or left since the last look, so the bucket may hold something new even
// if nobody is there any more. To the first look everybody is news.
func (r *Roster) Look(ctx context.Context) (others []string, news bool, err error) {
	announced := r.etag != ""
	if !announced || time.Since(r.renewed) >= renewEvery {
		if err := r.Announce(ctx); err != nil {
			return nil, false, err
		}
	}
	found := map[string]store.Object{}
	var ours time.Time
	for obj, err := range r.store.List(ctx, r.prefix) {
		if err != nil {
			return nil, false, fmt.Errorf("look for other writers: %w", err)
		}
		if obj.Key == r.key() {
			ours = obj.LastModified
		} else if strings.HasSuffix(obj.Key, ".json") {
			found[obj.Key] = obj
		}
	}
	if announced && ours.IsZero() {
		return nil, false, ErrForgotten
	}
	for key, obj := range found {
		changed, err := r.sight(ctx, key, obj)
		if err != nil {
			return nil, false, err
		}
		news = news || changed
		s := r.seen[key]
		quiet := time.Since(s.at) >= goneAfter
		if s.state == active && !quiet {
			others = append(others, strings.TrimSuffix(path.Base(key), ".json"))
		} else if !ours.IsZero() && ours.Sub(obj.LastModified) > tidyAfter {
			if err := r.store.Delete(ctx, key, obj.ETag); err != nil && !errors.Is(err, store.ErrPrecondition) {
				return nil, false, fmt.Errorf("tidy up after writer: %w", err)
			}
		}
	}
	for key := range r.seen {
		if _, there := found[key]; !there {
			delete(r.seen, key)
			news = true
		}
	}
	slices.Sort(others)
	return others, news, nil
}

// sight notes the state of another writer, reading its object only when that
// has changed, and reports whether the state is news.
func (r *Roster) sight(ctx context.Context, key string, obj store.Object) (bool, error) {
	old, known := r.seen[key]
	if known && old.etag == obj.ETag {
		return false, nil
	}
	body, read, err := r.store.Read(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at writer %s: %w", path.Base(key), err)
	}
	var p presence
	if err := json.Unmarshal(body, &p); err != nil || p.State != released {
		p.State = active // what cannot be read is taken for a writer: pulling too often does no harm
	}
	r.seen[key] = sighting{etag: read.ETag, state: p.State, at: time.Now()}
	return !known || old.state != p.State, nil
}
