// Package storetest holds one suite that every [store.Store] must pass,
// whatever stands behind it. What a vendor cannot do is stated in
// [Subject.Can] and checked against what the store says of itself; nothing is
// skipped in silence.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// Subject is a store under test, over an empty bucket that is its own.
type Subject struct {
	Store store.Store
	// Can is what this vendor is known to do.
	Can store.Abilities
	// Hides says that a vendor without FileAndFolder would take a/b where a is
	// or was, and then not list it.
	Hides bool
	// Folders says that every folder with something in it has an object that
	// can be looked up, though nobody wrote it and no listing shows it.
	Folders bool
	// NoPast says that a vendor's versions do not tell what was when.
	NoPast bool
	// Refuses are those of [Names] that this vendor does not take.
	Refuses []string

	// Single is the largest size that the store writes in one request, Part
	// the size of the parts of larger objects; tests stand on their edges.
	Single, Part int64

	// Open returns a store like Store but for one thing.
	Open func(t testing.TB, difference Difference) store.Store
	// Server stops and starts what stands behind the store.
	Server interface {
		Stop(testing.TB)
		Start(testing.TB)
	}
	// Unfinished counts the multipart uploads left open in the bucket.
	Unfinished func(t testing.TB) int
}

// Difference is in what another store differs. Empty fields do not.
type Difference struct {
	Bucket, Prefix, AccessKey, SecretKey string
	// Before is called with the method of each request before it gets to the
	// store: what happens meanwhile.
	Before func(method string)
}

// Run runs the suite. newSubject is called once a test.
func Run(t *testing.T, newSubject func(testing.TB) *Subject) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *Subject)
	}{
		{"Abilities", testAbilities},
		{"RoundTrip", testRoundTrip},
		{"Metadata", testMetadata},
		{"Names", testNames},
		{"ListInOrder", testListInOrder},
		{"ListEnds", testListEnds},
		{"Missing", testMissing},
		{"Delete", testDelete},
		{"DeleteRaces", testDeleteRaces},
		{"DeleteUnchecked", testDeleteUnchecked},
		{"Past", testPast},
		{"FolderObjects", testFolderObjects},
		{"FileAndFolder", testFileAndFolder},
		{"FileBecomesFolder", testFileBecomesFolder},
		{"FolderFileFolder", testFolderFileFolder},
		{"PrefixIsFile", testPrefixIsFile},
		{"Conditions", testConditions},
		{"Races", testRaces},
		{"Commit", testCommit},
		{"ExpectedBody", testExpectedBody},
		{"BadBody", testBadBody},
		{"DownloadConditions", testDownloadConditions},
		{"BadDestination", testBadDestination},
		{"Concurrency", testConcurrency},
		{"CreateBucket", testCreateBucket},
		{"NoBucket", testNoBucket},
		{"WrongCredentials", testWrongCredentials},
		{"Canceled", testCanceled},
		{"ServerDown", testServerDown},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newSubject(t)) })
	}
}

// noise is size bytes that are the same for the same seed.
func noise(seed uint64, size int64) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(size)}).Read(b)
	return b
}

func upload(key string, content []byte) store.Upload {
	return store.Upload{Key: key, Body: bytes.NewReader(content), Size: int64(len(content))}
}

func mustUpload(t testing.TB, s store.Store, u store.Upload) store.Object {
	t.Helper()
	o, err := s.Upload(t.Context(), u)
	if err != nil {
		t.Fatalf("Upload(%q, %d bytes): %v", u.Key, u.Size, err)
	}
	if o.Key != u.Key || o.Size != u.Size || o.ETag == "" {
		t.Fatalf("Upload(%q, %d bytes) = %+v", u.Key, u.Size, o)
	}
	return o
}

// memory is a destination that notices bytes out of place.
type memory struct {
	mu      sync.Mutex
	content []byte
	outside bool
}

func newMemory(size int64) *memory { return &memory{content: make([]byte, size)} }

func (m *memory) WriteAt(b []byte, offset int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if offset < 0 || offset+int64(len(b)) > int64(len(m.content)) {
		m.outside = true
		return 0, errors.New("written outside of the object")
	}
	return copy(m.content[offset:], b), nil
}

// wantContent downloads the object and compares it.
func wantContent(t testing.TB, s store.Store, o store.Object, want []byte) store.Object {
	t.Helper()
	m := newMemory(int64(len(want)))
	got, err := s.Download(t.Context(), o.Key, o.ETag, int64(len(want)), m)
	if err != nil {
		t.Fatalf("Download(%q): %v", o.Key, err)
	}
	if !bytes.Equal(m.content, want) {
		t.Fatalf("Download(%q): the %d bytes differ from those uploaded", o.Key, len(want))
	}
	if got.Key != o.Key || got.Size != int64(len(want)) || got.ETag != o.ETag {
		t.Fatalf("Download(%q) = %+v, want ETag %s", o.Key, got, o.ETag)
	}
	return got
}

// wantError checks the class of an error, and that it is of no other class.
func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v; want an error that is %q", what, err, want)
		return
	}
	for _, other := range classes {
		if other != want && errors.Is(err, other) {
			t.Errorf("%s: %v; is %q and also %q", what, err, want, other)
		}
	}
}

// wantRefused checks whether it is certain that an upload did not happen.
func wantRefused(t testing.TB, what string, err error, want bool) {
	t.Helper()
	if errors.Is(err, store.ErrRefused) != want {
		t.Errorf("%s: %v; is %q: %v, want %v", what, err, store.ErrRefused, !want, want)
	}
}

// wantUnclassified checks that an error is want and none of the store's.
func wantUnclassified(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v; want an error that is %q", what, err, want)
	}
	for _, class := range classes {
		if errors.Is(err, class) {
			t.Errorf("%s: %v; blames the store: %q", what, err, class)
		}
	}
}

var classes = []error{
	store.ErrNotFound, store.ErrNoBucket, store.ErrAccessDenied, store.ErrPrecondition, store.ErrUnreachable,
	store.ErrFull, store.ErrKeyRejected, store.ErrKeyConflict, store.ErrNoVersions, store.ErrDamaged,
}

// everyMethod calls each method that talks to the bucket, for errors that all
// of them must report alike.
func everyMethod(ctx context.Context, s store.Store) map[string]error {
	errs := map[string]error{"CheckBucket": s.CheckBucket(ctx)}
	for _, errs["List"] = range s.List(ctx, "p/") {
	}
	_, errs["Stat"] = s.Stat(ctx, "p/a")
	_, _, errs["Read"] = s.Read(ctx, "p/a")
	_, errs["Download"] = s.Download(ctx, "p/a", "", 1, newMemory(1))
	_, errs["Upload"] = s.Upload(ctx, upload("p/a", []byte("x")))
	errs["Delete"] = s.Delete(ctx, "p/a", "")
	_, errs["Abilities"] = s.Abilities(ctx, "p/")
	return errs
}

// list is the whole listing.
func list(t testing.TB, s store.Store, prefix string) []store.Object {
	t.Helper()
	var all []store.Object
	for o, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List(%q): %v", prefix, err)
		}
		all = append(all, o)
	}
	return all
}

func wantMetadata(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s: metadata %v, want %v", what, got, want)
	}
}

// faulty is a body that fails at an offset.
type faulty struct {
	io.ReaderAt
	offset int64
	err    error
}

func (f faulty) ReadAt(b []byte, offset int64) (int, error) {
	if offset+int64(len(b)) > f.offset {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(b, offset)
}

func sizes(s *Subject) []int64 {
	return []int64{
		0, 1, 4095, 4096, 4097, s.Single - 1, s.Single, s.Single + 1,
		2*s.Part - 1, 2 * s.Part, 2*s.Part + 1, 5*s.Part + 12345,
	}
}

func sized(size int64) string { return fmt.Sprintf("p/size-%d", size) }
