package storetest

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

func testDelete(t *testing.T, s *Subject) {
	for _, size := range []int64{10, 2 * s.Part} {
		first := mustUpload(t, s.Store, upload("p/a", noise(1, size)))
		second := mustUpload(t, s.Store, upload("p/a", noise(2, size)))
		wantError(t, "Delete of an old state", s.Store.Delete(t.Context(), "p/a", first.ETag), store.ErrPrecondition)
		wantContent(t, s.Store, second, noise(2, size))
		if err := s.Store.Delete(t.Context(), "p/a", second.ETag); err != nil {
			t.Errorf("Delete: %v", err)
		}
		_, err := s.Store.Stat(t.Context(), "p/a")
		wantError(t, "Stat after Delete", err, store.ErrNotFound)
		if left := list(t, s.Store, ""); len(left) > 0 {
			t.Errorf("List after Delete: %+v", left)
		}
		mustUpload(t, s.Store, upload("p/a", noise(3, size)))
		if err := s.Store.Delete(t.Context(), "p/a", ""); err != nil {
			t.Errorf("Delete without a condition: %v", err)
		}
	}
}

// An edit that comes between the look at an object and its deletion is not
// deleted, where the store can tell, and not for long where the bucket keeps
// versions.
func testDeleteRaces(t *testing.T, s *Subject) {
	before := mustUpload(t, s.Store, upload("p/a", []byte("before")))
	var edit store.Object
	late := s.Open(t, Difference{Before: func(method string) {
		if method == http.MethodDelete && edit.ETag == "" {
			edit = mustUpload(t, s.Store, upload("p/a", []byte("edit")))
		}
	}})
	err := late.Delete(t.Context(), "p/a", before.ETag)
	if edit.ETag == "" {
		t.Fatal("nothing came in between")
	}
	if !s.Can.ConditionalDelete && !s.Can.Versioning {
		t.Logf("this store ignores conditions of deletions and says so")
		if err != nil {
			t.Errorf("Delete with a condition that is ignored: %v", err)
		}
		_, err = s.Store.Stat(t.Context(), "p/a")
		wantError(t, "Stat", err, store.ErrNotFound)
		return
	}
	wantError(t, "Delete with an edit in between", err, store.ErrPrecondition)
	wantContent(t, s.Store, edit, []byte("edit"))
	wantKeys(t, list(t, s.Store, "p/"), "p/a")

	// The same content once more is no edit, and a deletion in between no failure.
	again := mustUpload(t, s.Store, upload("p/b", []byte("same")))
	other := func(f func()) store.Store {
		return s.Open(t, Difference{Before: func(method string) {
			if method == http.MethodDelete {
				f()
			}
		}})
	}
	same := other(func() { mustUpload(t, s.Store, upload("p/b", []byte("same"))) })
	if err := same.Delete(t.Context(), "p/b", again.ETag); err != nil {
		t.Errorf("Delete with the same content in between: %v", err)
	}
	last := mustUpload(t, s.Store, upload("p/c", []byte("last")))
	gone := other(func() {
		if err := s.Store.Delete(t.Context(), "p/c", ""); err != nil {
			t.Error(err)
		}
	})
	if err := gone.Delete(t.Context(), "p/c", last.ETag); err != nil {
		t.Errorf("Delete with a deletion in between: %v", err)
	}
	wantKeys(t, list(t, s.Store, "p/"), "p/a")
}

// If it cannot be found out at first what a deletion has hidden, nobody hears
// that the object is gone before it was found out.
func testDeleteUnchecked(t *testing.T, s *Subject) {
	if s.Can.ConditionalDelete || !s.Can.Versioning {
		t.Log("this store hides nothing, or for good")
		return
	}
	for what, again := range map[string]func(store.Store, string) error{
		"Delete": func(late store.Store, etag string) error {
			return late.Delete(t.Context(), "p/a", etag)
		},
		"Stat": func(late store.Store, _ string) error {
			_, err := late.Stat(t.Context(), "p/a")
			return err
		},
	} {
		before := mustUpload(t, s.Store, upload("p/a", []byte("before "+what)))
		var edit store.Object
		var silent atomic.Bool
		late := s.Open(t, Difference{Before: func(method string) {
			if method == http.MethodDelete && edit.ETag == "" {
				edit = mustUpload(t, s.Store, upload("p/a", []byte("edit")))
				silent.Store(true)
			}
			if method == http.MethodGet && silent.Load() {
				panic(http.ErrAbortHandler)
			}
		}})
		wantError(t, "Delete", late.Delete(t.Context(), "p/a", before.ETag), store.ErrUnreachable)
		wantError(t, what+", while nothing can be found out", again(late, before.ETag), store.ErrUnreachable)
		silent.Store(false)
		want := store.ErrPrecondition
		if what == "Stat" {
			want = nil
		}
		wantError(t, what, again(late, before.ETag), want)
		wantContent(t, s.Store, edit, []byte("edit"))
	}
}
