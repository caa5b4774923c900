package syncer

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// slowUploads lets an upload go on only when a listing that began after it has
// ended, so that the listing misses the object.
type slowUploads struct {
	store.Store
	began, listed chan struct{} // closed when the upload waits; when a listing has ended
	begin, list   func()
}

func newSlowUploads(s store.Store) store.Store {
	began, listed := make(chan struct{}), make(chan struct{})
	return &slowUploads{
		Store: s, began: began, listed: listed,
		begin: sync.OnceFunc(func() { close(began) }),
		list:  sync.OnceFunc(func() { close(listed) }),
	}
}

func (s *slowUploads) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if !strings.Contains(u.Key, contract.Reserved) {
		s.begin()
		select {
		case <-s.listed:
		case <-ctx.Done():
			return store.Object{}, context.Cause(ctx)
		}
	}
	return s.Store.Upload(ctx, u)
}

func (s *slowUploads) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	if strings.Contains(prefix, contract.Reserved) {
		return s.Store.List(ctx, prefix)
	}
	return func(yield func(store.Object, error) bool) {
		select {
		case <-s.began:
		case <-ctx.Done():
			yield(store.Object{}, context.Cause(ctx))
			return
		}
		for object, err := range s.Store.List(ctx, prefix) {
			if !yield(object, err) {
				return
			}
		}
		s.list()
	}
}

// staleListing is a listing that was made before, and arrives when let go.
type staleListing struct {
	store.Store
	made, letGo chan struct{}
	make        func()
}

func (s *staleListing) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	if strings.Contains(prefix, contract.Reserved) {
		return s.Store.List(ctx, prefix)
	}
	return func(yield func(store.Object, error) bool) {
		var page []store.Object
		for object, err := range s.Store.List(ctx, prefix) {
			if err != nil {
				yield(object, err)
				return
			}
			page = append(page, object)
		}
		s.make()
		select {
		case <-s.letGo:
		case <-ctx.Done():
			yield(store.Object{}, context.Cause(ctx))
			return
		}
		for _, object := range page {
			if !yield(object, nil) {
				return
			}
		}
	}
}

// TestForgottenByStaleListing: a file is uploaded and deleted while a listing
// travels that knows of neither. The object must not be taken for gone.
func TestForgottenByStaleListing(t *testing.T) {
	a := newRig(t, testenv.MinIO(t)).node(t)
	a.restore()
	s := &staleListing{made: make(chan struct{}), letGo: make(chan struct{})}
	s.make = sync.OnceFunc(func() { close(s.made) })
	a.wrap = func(real store.Store) store.Store { s.Store = real; return s }
	a.startOnly()
	<-s.made
	a.write("other", "stays")
	a.write("f", "short-lived")
	a.await("uploaded", func() bool { return a.engine.Status().Synced == 2 })
	a.remove("f")
	close(s.letGo)
	a.flush()
	if keys := a.rig.keys(t, "app/"); !slices.Equal(keys, []string{"other"}) {
		t.Errorf("the bucket has %q", keys)
	}
	a.mustStop()
	a.verify()
}

// TestStaleListing: an upload is under way while the bucket is listed, so the
// listing, when it is dealt with, says that the object is not there.
func TestStaleListing(t *testing.T) {
	a := newRig(t, testenv.MinIO(t)).node(t)
	a.restore()
	a.wrap = newSlowUploads
	a.startOnly()
	a.await("watching", func() bool { return a.engine.Status().Watching })
	a.write("video", "long")
	a.await("in step", func() bool { return a.engine.isInStep() })
	a.flush()
	if s := a.engine.Status(); s.Pending != 0 || s.HaltedDeletes != 0 {
		t.Errorf("after a flush: %+v", s)
	}
	a.mustStop()
	a.verify()
}
