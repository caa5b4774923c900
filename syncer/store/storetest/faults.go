package storetest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

func testCreateBucket(t *testing.T, s *Subject) {
	if err := s.Store.CreateBucket(t.Context()); err != nil {
		t.Errorf("CreateBucket of a bucket that exists: %v", err)
	}
	fresh := s.Open(t, Difference{Bucket: fmt.Sprintf("fresh-%x", rand.Uint64())})
	wantError(t, "CheckBucket", fresh.CheckBucket(t.Context()), store.ErrNoBucket)
	for range 2 {
		if err := fresh.CreateBucket(t.Context()); err != nil {
			t.Fatalf("CreateBucket: %v", err)
		}
	}
	if err := fresh.CheckBucket(t.Context()); err != nil {
		t.Errorf("CheckBucket: %v", err)
	}
	content := []byte("content")
	wantContent(t, fresh, mustUpload(t, fresh, upload("p/a", content)), content)
}

func testNoBucket(t *testing.T, s *Subject) {
	for name, err := range everyMethod(t.Context(), s.Open(t, Difference{Bucket: "no-such-bucket"})) {
		want := store.ErrNoBucket
		if name == "Stat" && err != nil {
			// An answer to HEAD has no body, so most stores cannot tell a
			// missing bucket from a missing object.
			continue
		}
		wantError(t, name, err, want)
	}
}

func testWrongCredentials(t *testing.T, s *Subject) {
	mustUpload(t, s.Store, upload("p/a", []byte("x")))
	for what, d := range map[string]Difference{
		"access key": {AccessKey: "NOSUCHACCESSKEY00000"},
		"secret key": {SecretKey: "no-such-secret-key-0000000000000000000"},
	} {
		wrong := s.Open(t, d)
		for name, err := range everyMethod(t.Context(), wrong) {
			wantError(t, name+" with a wrong "+what, err, store.ErrAccessDenied)
		}
		wantError(t, "CreateBucket with a wrong "+what, wrong.CreateBucket(t.Context()), store.ErrAccessDenied)
		_, err := wrong.Upload(t.Context(), upload("p/large", noise(1, 2*s.Part)))
		wantError(t, "Upload of a large object with a wrong "+what, err, store.ErrAccessDenied)
	}
	got, _, err := s.Store.Read(t.Context(), "p/a")
	if err != nil || string(got) != "x" {
		t.Errorf("Read with the right ones: %q, %v", got, err)
	}
}

func testServerDown(t *testing.T, s *Subject) {
	content := noise(1, 3*s.Part)
	o := mustUpload(t, s.Store, upload("p/a", content))
	s.Server.Stop(t)
	for name, err := range everyMethod(t.Context(), s.Store) {
		wantError(t, name, err, store.ErrUnreachable)
		wantRefused(t, name, err, false)
	}
	wantError(t, "CreateBucket", s.Store.CreateBucket(t.Context()), store.ErrUnreachable)
	_, err := s.Store.Upload(t.Context(), upload("p/large", content))
	wantError(t, "Upload of a large object", err, store.ErrUnreachable)
	_, err = s.Store.Download(t.Context(), "p/a", o.ETag, o.Size, newMemory(o.Size))
	wantError(t, "Download of a large object", err, store.ErrUnreachable)

	s.Server.Start(t)
	wantContent(t, s.Store, o, content)
	mustUpload(t, s.Store, upload("p/large", content))
}
