package storetest

import (
	"errors"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

func testAbilities(t *testing.T, s *Subject) {
	for _, prefix := range []string{"", "deep/no-slash-"} {
		got, err := s.Store.Abilities(t.Context(), prefix)
		if err != nil {
			t.Fatalf("Abilities(%q): %v", prefix, err)
		}
		if got != s.Can {
			t.Errorf("Abilities(%q) = %+v, want %+v", prefix, got, s.Can)
		}
	}
	if left := list(t, s.Store, ""); len(left) > 0 {
		t.Errorf("left behind: %+v", left)
	}
	if n := s.Unfinished(t); n > 0 {
		t.Errorf("%d multipart uploads left behind", n)
	}
}

func testRoundTrip(t *testing.T, s *Subject) {
	for i, size := range sizes(s) {
		content := noise(uint64(i), size)
		o := mustUpload(t, s.Store, upload(sized(size), content))
		wantContent(t, s.Store, o, content)
		stat, err := s.Store.Stat(t.Context(), o.Key)
		if err != nil || stat.ETag != o.ETag || stat.Size != size || stat.LastModified.IsZero() {
			t.Errorf("%d bytes: Stat = %+v, %v; want ETag %s", size, stat, err, o.ETag)
		}
		if size > 1<<20 {
			if _, _, err := s.Store.Read(t.Context(), o.Key); err == nil {
				t.Errorf("Read took %d bytes into memory", size)
			}
			continue
		}
		got, read, err := s.Store.Read(t.Context(), o.Key)
		if err != nil || string(got) != string(content) || read.ETag != o.ETag {
			t.Errorf("%d bytes: Read = %d bytes, %+v, %v", size, len(got), read, err)
		}
	}
	// A state is replaced by the next, small by large and large by small.
	for i, size := range []int64{100, s.Part * 2, 0, s.Part * 2, 7} {
		content := noise(uint64(100+i), size)
		wantContent(t, s.Store, mustUpload(t, s.Store, upload("p/again", content)), content)
	}
	if n := s.Unfinished(t); n > 0 {
		t.Errorf("%d multipart uploads left behind", n)
	}
}

func testMetadata(t *testing.T, s *Subject) {
	want := map[string]string{
		"mtime": "-86400.123456789", "mode": "0100644", "uid": "1000", "gid": "4294967294",
	}
	for _, size := range []int64{0, 10, s.Single + 1, 2*s.Part + 1} {
		u := upload(sized(size), noise(1, size))
		u.Metadata = want
		o := mustUpload(t, s.Store, u)
		stat, err := s.Store.Stat(t.Context(), o.Key)
		if err != nil {
			t.Fatal(err)
		}
		wantMetadata(t, "Stat", stat.Metadata, want)
		wantMetadata(t, "Download", wantContent(t, s.Store, o, noise(1, size)).Metadata, want)
		if size < 1<<20 {
			_, read, err := s.Store.Read(t.Context(), o.Key)
			if err != nil {
				t.Fatal(err)
			}
			wantMetadata(t, "Read", read.Metadata, want)
		}
	}
	// Without metadata there is none: "does not say" is for listings.
	mustUpload(t, s.Store, upload("p/bare", []byte("x")))
	stat, err := s.Store.Stat(t.Context(), "p/bare")
	if err != nil || stat.Metadata == nil {
		t.Errorf("Stat = %+v, %v; want metadata that is empty, not nil", stat, err)
	}
	wantMetadata(t, "Stat without metadata", stat.Metadata, map[string]string{})

	for _, o := range list(t, s.Store, "p/") {
		if o.Metadata != nil {
			t.Errorf("List says metadata %v of %s, which it does not ask for", o.Metadata, o.Key)
		}
	}
}

func testMissing(t *testing.T, s *Subject) {
	mustUpload(t, s.Store, upload("p/there", []byte("x")))
	missing := []string{"p/missing", "p/missing/", "p/the", "p"}
	if !s.Folders {
		missing = append(missing, "p/")
	}
	for _, key := range missing {
		_, err := s.Store.Stat(t.Context(), key)
		wantError(t, "Stat "+key, err, store.ErrNotFound)
		_, _, err = s.Store.Read(t.Context(), key)
		wantError(t, "Read "+key, err, store.ErrNotFound)
		_, err = s.Store.Download(t.Context(), key, "", 1, newMemory(1))
		wantError(t, "Download "+key, err, store.ErrNotFound)
		_, err = s.Store.Download(t.Context(), key, "", 1<<30, newMemory(1))
		wantError(t, "Download of a large "+key, err, store.ErrNotFound)
		for _, etag := range []string{"", "0123456789abcdef0123456789abcdef"} {
			if err := s.Store.Delete(t.Context(), key, etag); err != nil {
				t.Errorf("Delete(%q, %q): %v", key, etag, err)
			}
		}
	}
	if _, err := s.Store.Stat(t.Context(), "p/there"); err != nil {
		t.Errorf("deleting others: %v", err)
	}
}

// Empty folders are objects whose keys end in a slash.
func testFolderObjects(t *testing.T, s *Subject) {
	want := map[string]string{"mode": "040755", "mtime": "1.5"}
	folder := func(key string) store.Object {
		u := upload(key, nil)
		u.Metadata = want
		return mustUpload(t, s.Store, u)
	}
	folder("p/empty/")
	outer := folder("p/outer/")
	mustUpload(t, s.Store, upload("p/outer/inner", []byte("x")))

	stat, err := s.Store.Stat(t.Context(), "p/empty/")
	if err != nil || stat.Size != 0 || stat.Key != "p/empty/" {
		t.Errorf("Stat = %+v, %v", stat, err)
	}
	if !s.Can.FolderObjects {
		want = map[string]string{}
	}
	wantMetadata(t, "Stat", stat.Metadata, want)
	wantKeys(t, list(t, s.Store, "p/"), "p/empty/", "p/outer/", "p/outer/inner")

	// Without the object the file below stays.
	if err := s.Store.Delete(t.Context(), "p/outer/", outer.ETag); err != nil {
		t.Errorf("Delete of a folder object: %v", err)
	}
	wantKeys(t, list(t, s.Store, "p/"), "p/empty/", "p/outer/inner")
	if err := s.Store.Delete(t.Context(), "p/empty/", ""); err != nil {
		t.Errorf("Delete of an empty folder: %v", err)
	}
	wantKeys(t, list(t, s.Store, "p/"), "p/outer/inner")
}

func testFileAndFolder(t *testing.T, s *Subject) {
	file := mustUpload(t, s.Store, upload("p/a", []byte("file")))
	inner, err := s.Store.Upload(t.Context(), upload("p/a/b", []byte("inner")))
	if s.Can.FileAndFolder {
		if err != nil {
			t.Fatalf("Upload below a file: %v", err)
		}
		wantKeys(t, list(t, s.Store, "p/"), "p/a", "p/a/b")
		wantContent(t, s.Store, file, []byte("file"))
		if err := s.Store.Delete(t.Context(), "p/a", file.ETag); err != nil {
			t.Errorf("Delete of the file: %v", err)
		}
		wantContent(t, s.Store, inner, []byte("inner"))
		wantKeys(t, list(t, s.Store, "p/"), "p/a/b")
		return
	}
	wantError(t, "Upload below a file", err, store.ErrKeyConflict)
	wantRefused(t, "Upload below a file", err, true)
	wantContent(t, s.Store, file, []byte("file"))
	wantKeys(t, list(t, s.Store, "p/"), "p/a")

	inner = mustUpload(t, s.Store, upload("p/d/b", []byte("inner")))
	file, err = s.Store.Upload(t.Context(), upload("p/d", []byte("file")))
	if s.Hides {
		// Nothing short of a listing at each upload could tell. The caller has
		// seen p/d/b in its own.
		if err != nil {
			t.Fatalf("Upload of a file where a folder is: %v", err)
		}
		wantKeys(t, list(t, s.Store, "p/"), "p/a", "p/d")
		wantContent(t, s.Store, file, []byte("file"))
		wantContent(t, s.Store, inner, []byte("inner"))
		testHiddenStays(t, s, inner)
		return
	}
	wantError(t, "Upload of a file where a folder is", err, store.ErrKeyConflict)
	wantKeys(t, list(t, s.Store, "p/"), "p/a", "p/d/b")
}

// What a file has come to hide can be read no less than before, whatever
// becomes of the attempt to replace it.
func testHiddenStays(t *testing.T, s *Subject, hidden store.Object) {
	for name, c := range map[string]store.Condition{
		"IfMatch": {IfMatch: hidden.ETag}, "no condition": {},
	} {
		// After a restart nothing is known.
		u := upload(hidden.Key, []byte("edited"))
		u.Condition = c
		_, err := s.Open(t, Difference{}).Upload(t.Context(), u)
		wantError(t, "Upload of what is hidden, "+name, err, store.ErrKeyConflict)
		wantContent(t, s.Store, hidden, []byte("inner"))
	}
	for name, c := range map[string]store.Condition{"IfAbsent": {IfAbsent: true}, "no condition": {}} {
		u := upload(hidden.Key+"-new", []byte("new"))
		u.Condition = c
		_, err := s.Open(t, Difference{}).Upload(t.Context(), u)
		wantError(t, "Upload of what would be hidden, "+name, err, store.ErrKeyConflict)
		_, err = s.Store.Stat(t.Context(), u.Key)
		wantError(t, "Stat of what would be hidden, "+name, err, store.ErrNotFound)
	}
}

// A file is deleted and a folder takes its name, and the reverse. What is
// uploaded is listed, or was not uploaded.
func testFileBecomesFolder(t *testing.T, s *Subject) {
	file := mustUpload(t, s.Store, upload("p/x/a", []byte("file")))
	if err := s.Store.Delete(t.Context(), "p/x/a", file.ETag); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what the first upload found out, the second knows
		_, err := s.Store.Upload(t.Context(), upload("p/x/a/b/c", []byte("inner")))
		if s.Can.Versioning && !s.Can.FileAndFolder {
			// The versions of the file still stand there.
			wantError(t, "Upload below a deleted file", err, store.ErrKeyConflict)
			wantKeys(t, list(t, s.Store, "p/"))
			continue
		}
		if err != nil {
			t.Fatalf("Upload below a deleted file: %v", err)
		}
		wantKeys(t, list(t, s.Store, "p/"), "p/x/a/b/c")
	}

	inner := mustUpload(t, s.Store, upload("p/x/d/e", []byte("inner")))
	if err := s.Store.Delete(t.Context(), "p/x/d/e", inner.ETag); err != nil {
		t.Fatal(err)
	}
	file, err := s.Store.Upload(t.Context(), upload("p/x/d", []byte("file")))
	if s.Can.Versioning && !s.Can.FileAndFolder && !s.Hides {
		wantError(t, "Upload where a folder was", err, store.ErrKeyConflict)
		return
	}
	if err != nil {
		t.Fatalf("Upload where a folder was: %v", err)
	}
	wantContent(t, s.Store, file, []byte("file"))
	wantKeys(t, list(t, s.Store, "p/x/d"), "p/x/d")
}

// A folder becomes a file, and a folder again: what is uploaded is listed, or
// was not uploaded, though the name was free when the first file of the folder
// came.
func testFolderFileFolder(t *testing.T, s *Subject) {
	remove := func(o store.Object) {
		t.Helper()
		if err := s.Store.Delete(t.Context(), o.Key, o.ETag); err != nil {
			t.Fatal(err)
		}
	}
	remove(mustUpload(t, s.Store, upload("p/a/x", []byte("first"))))
	file, err := s.Store.Upload(t.Context(), upload("p/a", []byte("file")))
	if s.Can.Versioning && !s.Can.FileAndFolder && !s.Hides {
		wantError(t, "Upload where a folder was", err, store.ErrKeyConflict)
		return
	}
	if err != nil {
		t.Fatalf("Upload where a folder was: %v", err)
	}
	remove(file)
	_, err = s.Store.Upload(t.Context(), upload("p/a/y", []byte("second")))
	if s.Can.Versioning && !s.Can.FileAndFolder {
		wantError(t, "Upload below a deleted file", err, store.ErrKeyConflict)
		wantKeys(t, list(t, s.Store, "p/"))
		return
	}
	if err != nil {
		t.Fatalf("Upload below a deleted file: %v", err)
	}
	wantKeys(t, list(t, s.Store, "p/"), "p/a/y")
}

// A bucket is never empty because a file stands where the prefix would be.
func testPrefixIsFile(t *testing.T, s *Subject) {
	outer := mustUpload(t, s.Store, upload("p", []byte("file")))
	below := s.Open(t, Difference{Prefix: "p/"})
	empty := func(s store.Store) (err error) {
		for _, err = range s.List(t.Context(), "p/") {
		}
		return err
	}
	wantError(t, "List", empty(below), store.ErrKeyConflict)
	// Who lists from above has seen the file.
	wantKeys(t, list(t, s.Store, ""), "p")
	wantKeys(t, list(t, s.Store, "p/"))

	inner, err := below.Upload(t.Context(), upload("p/a", []byte("inner")))
	if s.Can.FileAndFolder {
		if err != nil {
			t.Fatalf("Upload: %v", err)
		}
		wantKeys(t, list(t, below, "p/"), "p/a")
		wantContent(t, below, inner, []byte("inner"))
		return
	}
	wantError(t, "Upload", err, store.ErrKeyConflict)
	if err := s.Store.Delete(t.Context(), "p", outer.ETag); err != nil {
		t.Fatal(err)
	}
	if s.Can.Versioning && s.Hides {
		wantError(t, "List", empty(below), store.ErrKeyConflict)
	} else if err := empty(below); err != nil {
		t.Errorf("List: %v", err)
	}
	inner, err = below.Upload(t.Context(), upload("p/a", []byte("inner")))
	if s.Can.Versioning {
		wantError(t, "Upload", err, store.ErrKeyConflict)
		return
	}
	if err != nil {
		t.Fatalf("Upload: %v", err)
	}
	wantContent(t, below, inner, []byte("inner"))
	wantKeys(t, list(t, below, "p/"), "p/a")
}

func testDownloadConditions(t *testing.T, s *Subject) {
	for _, size := range []int64{100, s.Single + 1, 5 * s.Part} {
		old := mustUpload(t, s.Store, upload("p/a", noise(1, size)))
		content := noise(2, size)
		now := mustUpload(t, s.Store, upload("p/a", content))

		m := newMemory(size)
		_, err := s.Store.Download(t.Context(), "p/a", old.ETag, size, m)
		wantError(t, "Download of an old state", err, store.ErrPrecondition)
		for _, wrong := range []int64{0, 1, size - 1, size + 1, size + 100*s.Part} {
			m := newMemory(wrong)
			_, err := s.Store.Download(t.Context(), "p/a", now.ETag, wrong, m)
			wantError(t, "Download with a wrong size", err, store.ErrPrecondition)
			if m.outside {
				t.Errorf("size %d: written outside", wrong)
			}
		}
		now.ETag = wantAnyState(t, s, "p/a", content).ETag
		wantContent(t, s.Store, now, content)
	}
}

func wantAnyState(t testing.TB, s *Subject, key string, content []byte) store.Object {
	t.Helper()
	m := newMemory(int64(len(content)))
	o, err := s.Store.Download(t.Context(), key, "", int64(len(content)), m)
	if err != nil || string(m.content) != string(content) {
		t.Errorf("Download(%q) of whatever is there: %+v, %v", key, o, err)
	}
	return o
}

// A full disk here is not the store's fault.
func testBadDestination(t *testing.T, s *Subject) {
	broken := errors.New("no space left on device")
	for _, size := range []int64{100, s.Single + 1, 5 * s.Part} {
		mustUpload(t, s.Store, upload("p/a", noise(1, size)))
		_, err := s.Store.Download(t.Context(), "p/a", "", size, brokenWriter{broken})
		wantUnclassified(t, "Download", err, broken)
	}
}

type brokenWriter struct{ err error }

func (b brokenWriter) WriteAt([]byte, int64) (int, error) { return 0, b.err }
