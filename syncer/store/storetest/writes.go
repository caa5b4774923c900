package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/minio/crc64nvme"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

const otherETag = "0123456789abcdef0123456789abcdef"

func testConditions(t *testing.T, s *Subject) {
	for _, kind := range []struct {
		name string
		size int64
		can  bool
	}{
		{"single request", 100, s.Can.ConditionalPut},
		{"multipart", 2*s.Part + 1, s.Can.ConditionalMultipart},
	} {
		t.Run(kind.name, func(t *testing.T) {
			key := sized(kind.size)
			write := func(seed uint64, c store.Condition) (store.Object, error) {
				u := upload(key, noise(seed, kind.size))
				u.Condition = c
				return s.Store.Upload(t.Context(), u)
			}
			if !kind.can {
				t.Logf("this store ignores conditions and says so")
				first := mustUpload(t, s.Store, upload(key, noise(1, kind.size)))
				if _, err := write(2, store.Condition{IfAbsent: true}); err != nil {
					t.Errorf("an ignored condition: %v", err)
				}
				if stat, err := s.Store.Stat(t.Context(), key); err != nil || stat.ETag == first.ETag {
					t.Errorf("the condition was not ignored: %+v, %v", stat, err)
				}
				return
			}
			_, err := write(0, store.Condition{IfMatch: otherETag})
			wantError(t, "IfMatch where nothing is", err, store.ErrPrecondition)
			first, err := write(1, store.Condition{IfAbsent: true})
			if err != nil {
				t.Fatalf("IfAbsent where nothing is: %v", err)
			}
			_, err = write(2, store.Condition{IfAbsent: true})
			wantError(t, "IfAbsent where something is", err, store.ErrPrecondition)
			wantRefused(t, "IfAbsent where something is", err, true)
			_, err = write(2, store.Condition{IfMatch: otherETag})
			wantError(t, "IfMatch with another ETag", err, store.ErrPrecondition)
			wantContent(t, s.Store, first, noise(1, kind.size))
			second, err := write(2, store.Condition{IfMatch: first.ETag})
			if err != nil {
				t.Fatalf("IfMatch: %v", err)
			}
			_, err = write(3, store.Condition{IfMatch: first.ETag})
			wantError(t, "IfMatch with the old ETag", err, store.ErrPrecondition)
			wantContent(t, s.Store, second, noise(2, kind.size))
			if n := s.Unfinished(t); n > 0 {
				t.Errorf("%d multipart uploads left behind", n)
			}
		})
	}
}

// Of many who write on the same condition at once exactly one wins.
func testRaces(t *testing.T, s *Subject) {
	const writers = 16
	for _, kind := range []struct {
		name   string
		size   int64
		rounds int
		can    bool
	}{
		{"single request", 100, 20, s.Can.ConditionalPut},
		{"multipart", 2*s.Part + 1, 1, s.Can.ConditionalMultipart},
	} {
		if !kind.can {
			t.Logf("%s: this store ignores conditions and says so", kind.name)
			continue
		}
		for round := range kind.rounds {
			key := fmt.Sprintf("p/race-%d-%d", kind.size, round)
			condition := store.Condition{IfAbsent: true}
			for turn := range 2 {
				// Never the same content twice: it might have the same ETag.
				winner := race(t, s, key, kind.size, writers, 1000*turn, condition)
				condition = store.Condition{IfMatch: winner.ETag}
			}
		}
	}
}

func race(t *testing.T, s *Subject, key string, size int64, writers, seed int, c store.Condition) store.Object {
	t.Helper()
	objects, errs := make([]store.Object, writers), make([]error, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			u := upload(key, noise(uint64(seed+i), size))
			u.Condition = c
			objects[i], errs[i] = s.Store.Upload(t.Context(), u)
		})
	}
	all.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("%+v: writers %d and %d both won", c, winner, i)
		case err == nil:
			winner = i
		default:
			wantError(t, fmt.Sprintf("%+v", c), err, store.ErrPrecondition)
		}
	}
	if winner < 0 {
		t.Fatalf("%+v: nobody won", c)
	}
	wantContent(t, s.Store, objects[winner], noise(uint64(seed+winner), size))
	return objects[winner]
}

// counted notices the last time that a body is read.
type counted struct {
	io.ReaderAt
	clock *atomic.Int64
	last  atomic.Int64
}

func (c *counted) ReadAt(b []byte, offset int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(b, offset)
	c.last.Store(c.clock.Add(1))
	return n, err
}

func testCommit(t *testing.T, s *Subject) {
	refusal := errors.New("the file has changed")
	for _, size := range []int64{0, 100, s.Single, s.Single + 1, 3*s.Part + 1} {
		key := sized(size)
		before := mustUpload(t, s.Store, upload(key, []byte("before")))

		var clock atomic.Int64
		var commits int
		content := noise(9, size)
		body := &counted{ReaderAt: bytes.NewReader(content), clock: &clock}
		u := store.Upload{Key: key, Body: body, Size: size}
		u.Commit = func() error {
			commits++
			clock.Add(1)
			if stat, err := s.Store.Stat(t.Context(), key); err != nil || stat.ETag != before.ETag {
				t.Errorf("%d bytes: visible before Commit: %+v, %v", size, stat, err)
			}
			clock.Store(1 << 40)
			return refusal
		}
		_, err := s.Store.Upload(t.Context(), u)
		wantUnclassified(t, "Upload", err, refusal)
		if commits != 1 {
			t.Errorf("%d bytes: Commit was called %d times", size, commits)
		}
		if body.last.Load() > 1<<40 {
			t.Errorf("%d bytes: the body was read after Commit", size)
		}
		wantContent(t, s.Store, before, []byte("before"))
		if n := s.Unfinished(t); n > 0 {
			t.Errorf("%d bytes: %d multipart uploads left behind", size, n)
		}

		commits = 0
		u.Commit = func() error { commits++; return nil }
		wantContent(t, s.Store, mustUpload(t, s.Store, u), content)
		if commits != 1 {
			t.Errorf("%d bytes: Commit was called %d times", size, commits)
		}
	}
}

// What is published has the checksum that it was to have.
func testExpectedBody(t *testing.T, s *Subject) {
	for _, size := range []int64{0, 100, s.Single, s.Single + 1, 3*s.Part + 1} {
		key, content := sized(size), noise(3, size)
		before := mustUpload(t, s.Store, upload(key, []byte("before")))
		sum := crc64nvme.Checksum(content)
		wrong := sum ^ 1
		u := upload(key, content)
		u.CRC64NVME = &wrong
		u.Commit = func() error {
			t.Errorf("%d bytes: Commit was called", size)
			return nil
		}
		_, err := s.Store.Upload(t.Context(), u)
		wantUnclassified(t, fmt.Sprintf("%d other bytes", size), err, store.ErrBodyChanged)
		wantContent(t, s.Store, before, []byte("before"))
		if n := s.Unfinished(t); n > 0 {
			t.Errorf("%d bytes: %d multipart uploads left behind", size, n)
		}
		u.CRC64NVME, u.Commit = &sum, nil
		wantContent(t, s.Store, mustUpload(t, s.Store, u), content)
	}
}

// Files become shorter, and disks fail, while they are read.
func testBadBody(t *testing.T, s *Subject) {
	for _, size := range []int64{100, s.Single, s.Single + 1, 4*s.Part + 1} {
		key := sized(size)
		content := noise(1, size)
		for _, bad := range []struct {
			name string
			body io.ReaderAt
			want error
		}{
			{"truncated at the start", bytes.NewReader(nil), io.ErrUnexpectedEOF},
			{"truncated by a byte", bytes.NewReader(content[:size-1]), io.ErrUnexpectedEOF},
			{"failing", faulty{bytes.NewReader(content), size / 2, syscall.EIO}, syscall.EIO},
		} {
			u := store.Upload{Key: key, Body: bad.body, Size: size, Commit: func() error {
				t.Errorf("%s, %d bytes: Commit was called", bad.name, size)
				return nil
			}}
			_, err := s.Store.Upload(t.Context(), u)
			wantUnclassified(t, fmt.Sprintf("%s, %d bytes", bad.name, size), err, bad.want)
			_, err = s.Store.Stat(t.Context(), key)
			wantError(t, "Stat", err, store.ErrNotFound)
		}
	}
	_, err := s.Store.Upload(t.Context(), store.Upload{Key: "p/negative", Body: bytes.NewReader(nil), Size: -1})
	if err == nil {
		t.Error("a negative size was taken")
	}
	if n := s.Unfinished(t); n > 0 {
		t.Errorf("%d multipart uploads left behind", n)
	}
}

// Many callers at once get each their own.
func testConcurrency(t *testing.T, s *Subject) {
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			size := int64(i * 997)
			if i%16 == 0 {
				size = 2*s.Part + int64(i)
			}
			key := fmt.Sprintf("p/many-%d", i)
			content := noise(uint64(i), size)
			o, err := s.Store.Upload(t.Context(), upload(key, content))
			if err != nil {
				t.Errorf("Upload: %v", err)
				return
			}
			m := newMemory(size)
			if _, err := s.Store.Download(t.Context(), key, o.ETag, size, m); err != nil || !bytes.Equal(m.content, content) {
				t.Errorf("Download(%q): %v, or another's content", key, err)
			}
			if err := s.Store.Delete(t.Context(), key, o.ETag); err != nil {
				t.Errorf("Delete: %v", err)
			}
		})
	}
	all.Wait()
	if left := list(t, s.Store, ""); len(left) > 0 {
		t.Errorf("%d objects left", len(left))
	}
}

func testCanceled(t *testing.T, s *Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range everyMethod(ctx, s.Store) {
		wantUnclassified(t, name, err, context.Canceled)
		wantRefused(t, name, err, false)
	}
	// In the middle of a large upload.
	ctx, cancel = context.WithCancel(t.Context())
	content := noise(1, 4*s.Part)
	u := upload("p/large", content)
	u.Body = canceling{bytes.NewReader(content), 2 * s.Part, cancel}
	_, err := s.Store.Upload(ctx, u)
	wantUnclassified(t, "Upload", err, context.Canceled)
	if n := s.Unfinished(t); n > 0 {
		t.Errorf("%d multipart uploads left behind", n)
	}
	_, err = s.Store.Stat(t.Context(), "p/large")
	wantError(t, "Stat", err, store.ErrNotFound)
}

type canceling struct {
	io.ReaderAt
	offset int64
	cancel func()
}

func (c canceling) ReadAt(b []byte, offset int64) (int, error) {
	if offset >= c.offset {
		c.cancel()
	}
	return c.ReaderAt.ReadAt(b, offset)
}
