package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// maxRead bounds what [Store.Read] takes into memory.
const maxRead = 1 << 20

// Stat implements [store.Store].
func (s *Store) Stat(ctx context.Context, key string) (store.Object, error) {
	err := s.checkAgain(ctx, key)
	if err != nil && !errors.Is(err, store.ErrPrecondition) {
		return store.Object{}, s.fail(ctx, "look up", key, err)
	}
	info, err := s.head(ctx, key)
	if err != nil {
		return store.Object{}, s.fail(ctx, "look up", key, err)
	}
	return object(info), nil
}

// Read implements [store.Store]. Objects of more than 1 MiB are refused.
func (s *Store) Read(ctx context.Context, key string) ([]byte, store.Object, error) {
	return s.read(ctx, key, "")
}

func (s *Store) read(ctx context.Context, key, etag string) ([]byte, store.Object, error) {
	body, info, err := s.get(ctx, key, etag, nil)
	if err != nil {
		return nil, store.Object{}, s.fail(ctx, "read", key, err)
	}
	defer body.Close()
	if info.Size > maxRead {
		return nil, store.Object{}, fmt.Errorf("read %s: %d bytes are too many, at most %d", key, info.Size, maxRead)
	}
	b := make([]byte, info.Size)
	if _, err := io.ReadFull(body, b); err != nil {
		return nil, store.Object{}, s.fail(ctx, "read", key, err)
	}
	d, err := s.digest(ctx, info)
	if err != nil {
		return nil, store.Object{}, s.fail(ctx, "read", key, err)
	}
	h := d.hasher()
	h.Write(b)
	if err := d.check(h.Sum(nil)); err != nil {
		return nil, store.Object{}, s.fail(ctx, "read", key, err)
	}
	return b, object(info), nil
}

// Delete implements [store.Store]. MinIO ignores conditions of deletions, so
// the object is looked at just before; and where versions are kept, at what it
// was that went, just after.
func (s *Store) Delete(ctx context.Context, key, etag string) error {
	if err := s.delete(ctx, key, etag); err != nil {
		return s.fail(ctx, "delete", key, err)
	}
	return nil
}

func (s *Store) delete(ctx context.Context, key, etag string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	defer s.clear.forget(key)
	if err := s.checkAgain(ctx, key); err != nil {
		return err
	}
	if etag != "" {
		info, err := s.head(ctx, key)
		switch {
		case errors.Is(class(err), store.ErrNotFound):
			return nil
		case err != nil:
			return err
		case info.ETag != etag:
			return store.ErrPrecondition
		}
	}
	marker, err := s.remove(ctx, key, etag)
	if isUnsupported(err) { // some refuse what they do not know instead of ignoring it
		marker, err = s.remove(ctx, key, "")
	}
	switch {
	case err == nil && etag != "" && marker != "":
		s.unchecked.Store(key, deletion{etag, marker})
		return s.checkAgain(ctx, key)
	case answer(err) == (minio.ErrorResponse{}):
		return err
	}
	// Stores that keep objects as files fail to delete what is not an object
	// but a folder of others. Nothing was there to delete.
	if _, headErr := s.head(ctx, key); errors.Is(class(headErr), store.ErrNotFound) {
		return nil
	}
	return err
}

// remove deletes without looking, on condition of the ETag if it is not empty
// and the store knows how. Where the bucket keeps versions, it returns the name
// of the delete marker.
func (s *Store) remove(ctx context.Context, key, etag string) (marker string, err error) {
	x := &exchange{}
	if etag != "" {
		x.send = http.Header{"If-Match": {`"` + etag + `"`}}
	}
	err = s.client.RemoveObject(x.in(ctx), s.bucket, key, minio.RemoveObjectOptions{})
	if err == nil && x.got.Get("x-amz-delete-marker") == "true" {
		marker = x.got.Get("x-amz-version-id")
	}
	return marker, err
}

// deletion is one of an object that had this ETag, by a delete marker.
type deletion struct{ etag, marker string }

// checkAgain checks the deletion of key, if there was one that was not checked
// to the end. Until it is, that the object is not there may be our own mistake,
// and is not to be said.
func (s *Store) checkAgain(ctx context.Context, key string) error {
	found, ok := s.unchecked.Load(key)
	if !ok {
		return nil
	}
	d := found.(deletion)
	err := s.checkDeleted(ctx, key, d.etag, d.marker)
	if err == nil || errors.Is(err, store.ErrPrecondition) {
		s.unchecked.CompareAndDelete(key, d)
	}
	return err
}

// checkDeleted looks what it was that a delete marker has hidden. If it was an
// edit that came after the look before, the marker goes again, and the edit is
// what it was: the current version.
func (s *Store) checkDeleted(ctx context.Context, key, etag, marker string) error {
	// The caller's impatience must not hide an edit for good.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	return retry(ctx, func() error {
		found := false
		for v := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{
			// Newest first; in all probability the marker and what is under it.
			Prefix: key, Recursive: true, WithVersions: true, MaxKeys: 2,
		}) {
			switch {
			case errors.Is(class(v.Err), store.ErrAccessDenied):
				return nil // as in a bucket without versions
			case v.Err != nil:
				return v.Err
			case !found && v.Key == key:
				found = v.VersionID == marker
				continue
			case v.Key != key, v.IsDeleteMarker, v.ETag == etag:
				return nil
			}
			err := s.client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{VersionID: marker})
			if err != nil {
				return fmt.Errorf("take back the deletion of an edit that came in between: %w", err)
			}
			return store.ErrPrecondition
		}
		return ctx.Err()
	})
}

// head asks for everything but the content.
func (s *Store) head(ctx context.Context, key string) (minio.ObjectInfo, error) {
	return s.headVersion(ctx, key, "")
}

// headVersion asks for a version, the current one if it is empty.
func (s *Store) headVersion(ctx context.Context, key, version string) (minio.ObjectInfo, error) {
	if err := checkKey(key); err != nil {
		return minio.ObjectInfo{}, err
	}
	var opts minio.StatObjectOptions
	opts.Set(checksumMode, checksumEnabled)
	opts.VersionID = version
	info, err := s.client.StatObject(ctx, s.bucket, key, opts)
	if err == nil {
		err = checkAnswer(info)
	}
	// A 400 may be said of the name, for good, or of anything else.
	if !errors.Is(class(err), store.ErrNotFound) && answer(err).StatusCode != http.StatusBadRequest {
		return info, err
	}
	// An answer to HEAD has no body: this 404 may be the bucket's or even, from
	// versitygw, an unknown user's. That an object is gone must be certain.
	body, info, err := s.get(ctx, key, store.VersionETag("", version), nil)
	if err == nil {
		body.Close()
	}
	return info, err
}

// byteRange is the half-open range [from, to) of an object.
type byteRange struct{ from, to int64 }

// get begins to fetch an object, if etag is not empty only in that state. An
// ETag of [store.VersionETag] fetches that version.
func (s *Store) get(ctx context.Context, key, etag string, r *byteRange) (io.ReadCloser, minio.ObjectInfo, error) {
	if err := checkKey(key); err != nil {
		return nil, minio.ObjectInfo{}, err
	}
	var opts minio.GetObjectOptions
	// Not opts.Checksum: we check ourselves, while writing, and know what to
	// call a mismatch.
	opts.Set(checksumMode, checksumEnabled)
	etag, opts.VersionID = store.SplitETag(etag)
	if etag != "" {
		if err := opts.SetMatchETag(etag); err != nil {
			return nil, minio.ObjectInfo{}, err
		}
	}
	if r != nil {
		opts.Set("Range", fmt.Sprintf("bytes=%d-%d", r.from, r.to-1))
	}
	body, info, _, err := s.client.GetObject(ctx, s.bucket, key, opts)
	if err != nil {
		return nil, minio.ObjectInfo{}, err
	}
	if err := checkAnswer(info); err != nil {
		body.Close()
		return nil, minio.ObjectInfo{}, err
	}
	// Stores that do not know If-Match on GET must not pass for ones that do.
	if etag != "" && info.ETag != etag {
		body.Close()
		return nil, minio.ObjectInfo{}, store.ErrPrecondition
	}
	return body, info, nil
}

// checkAnswer refuses what no store says of an object.
func checkAnswer(info minio.ObjectInfo) error {
	if info.Size < 0 || info.ETag == "" {
		return errors.New("the answer has no size or no ETag: does this endpoint speak S3?")
	}
	if !isSize(info.Size) {
		return errSize(info)
	}
	return nil
}

func object(info minio.ObjectInfo) store.Object {
	o := store.Object{
		Key:          info.Key,
		Size:         info.Size,
		ETag:         info.ETag,
		LastModified: info.LastModified,
		Metadata:     make(map[string]string, len(info.UserMetadata)),
	}
	for name, value := range info.UserMetadata {
		o.Metadata[strings.ToLower(name)] = value
	}
	return o
}
