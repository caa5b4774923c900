package writers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// bucket is a store in memory, for what takes hours in a real one. Its clock
// may differ from that of the writers.
type bucket struct {
	mu      sync.Mutex
	objects map[string]object
	writes  int
	reads   int
	skew    time.Duration
	fail    func(action, key string) error // nil: never
	empty   bool                           // listings show nothing
}

type object struct {
	body []byte
	store.Object
}

func newBucket() *bucket { return &bucket{objects: map[string]object{}} }

func (b *bucket) failing(action, key string) error {
	if b.fail == nil {
		return nil
	}
	return b.fail(action, key)
}

func (b *bucket) List(_ context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		b.mu.Lock()
		objects := maps.Clone(b.objects)
		if b.empty {
			clear(objects)
		}
		err := b.failing("list", prefix)
		b.mu.Unlock()
		for _, key := range slices.Sorted(maps.Keys(objects)) {
			if strings.HasPrefix(key, prefix) && !yield(objects[key].Object, nil) {
				return
			}
		}
		if err != nil { // in the middle
			yield(store.Object{}, err)
		}
	}
}

func (b *bucket) Read(_ context.Context, key string) ([]byte, store.Object, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	if err := b.failing("read", key); err != nil {
		return nil, store.Object{}, err
	}
	o, ok := b.objects[key]
	if !ok {
		return nil, store.Object{}, store.ErrNotFound
	}
	return o.body, o.Object, nil
}

func (b *bucket) Upload(_ context.Context, u store.Upload) (store.Object, error) {
	body, err := io.ReadAll(io.NewSectionReader(u.Body, 0, u.Size))
	if err != nil {
		return store.Object{}, err
	}
	if u.Condition != (store.Condition{}) {
		return store.Object{}, errors.New("not known here: " + u.Key)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.failing("upload", u.Key); err != nil {
		return store.Object{}, err
	}
	return b.put(u.Key, string(body)), nil
}

func (b *bucket) put(key, body string) store.Object {
	b.writes++
	o := store.Object{Key: key, Size: int64(len(body)), ETag: fmt.Sprint("etag-", b.writes), LastModified: time.Now().Add(b.skew)}
	b.objects[key] = object{[]byte(body), o}
	return o
}

func (b *bucket) Delete(_ context.Context, key, etag string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.failing("delete", key); err != nil {
		return err
	}
	if o, ok := b.objects[key]; ok && o.ETag != etag {
		return store.ErrPrecondition
	}
	delete(b.objects, key)
	return nil
}

func (b *bucket) keys() []string { return slices.Sorted(maps.Keys(b.objects)) }
