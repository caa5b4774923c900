package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// CheckBucket implements [store.Store]. It asks for a listing, which is what
// will be needed, and whose answer says why not.
func (s *Store) CheckBucket(ctx context.Context) error {
	// One key of the listing is enough.
	for info := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix, MaxKeys: 1}) {
		if info.Err != nil {
			return s.fail(ctx, "look into", "", info.Err)
		}
		break
	}
	if err := ctx.Err(); err != nil {
		return s.fail(ctx, "look into", "", err)
	}
	return nil
}

// CreateBucket implements [store.Store].
func (s *Store) CreateBucket(ctx context.Context) error {
	err := s.client.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: s.region})
	if err != nil {
		if answer(err).Code == "BucketAlreadyOwnedByYou" {
			return nil // and its owner has decided about versions
		}
		// Some stores say BucketAlreadyExists to the owner as well.
		if exists, existsErr := s.client.BucketExists(ctx, s.bucket); existsErr == nil && exists {
			return nil
		}
		return s.fail(ctx, "create", "", err)
	}
	if err := s.client.EnableVersioning(ctx, s.bucket); err != nil && !isUnsupported(err) {
		return s.fail(ctx, "enable versions of", "", err)
	}
	return nil
}

const noSuchUpload = "NoSuchUpload"

// abort drops one unfinished upload, and again a little later, because a part
// that was still arriving can revive it.
func (s *Store) abort(ctx context.Context, key, id string) (err error) {
	for _, wait := range []time.Duration{0, 10 * time.Millisecond, 50 * time.Millisecond} {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		err = s.client.AbortMultipartUpload(ctx, s.bucket, key, id)
		if answer(err).Code == noSuchUpload {
			err = nil
		}
	}
	return err
}

// AbortUpload implements [store.Store].
func (s *Store) AbortUpload(ctx context.Context, key, id string) error {
	if err := s.abort(ctx, key, id); err != nil {
		return s.fail(ctx, "abort unfinished upload of", key, err)
	}
	return nil
}

// isUnsupported says whether a store refused because it does not know how.
func isUnsupported(err error) bool {
	response := answer(err)
	switch response.Code {
	case "NotImplemented", "APINotSupported", "MethodNotAllowed", "VersioningNotConfigured":
		return true
	}
	return response.StatusCode == http.StatusNotImplemented || response.StatusCode == http.StatusMethodNotAllowed
}

// AbortUploads drops the unfinished multipart uploads of keys that begin with
// prefix and that were begun at least olderThan ago: what crashed uploaders
// leave behind, invisible but paid for. It returns how many it dropped.
//
// Writers elsewhere, and other clients, may be in the middle of theirs, so
// olderThan must exceed the time that an upload can take. The store's own clock
// says how long ago that is.
func (s *Store) AbortUploads(ctx context.Context, prefix string, olderThan time.Duration) (int, error) {
	// MinIO takes the prefix for a whole key, but lists those of the bucket.
	uploads, now, err := s.unfinished(ctx, "")
	if errors.Is(class(err), store.ErrAccessDenied) {
		uploads, now, err = s.unfinished(ctx, prefix)
	}
	if err != nil {
		return 0, s.fail(ctx, "list unfinished uploads below", prefix, err)
	}
	var aborted int
	for _, upload := range uploads {
		if !strings.HasPrefix(upload.Key, prefix) || now.Sub(upload.Initiated) < olderThan {
			continue
		}
		if err := s.abort(ctx, upload.Key, upload.UploadID); err != nil {
			return aborted, s.fail(ctx, "abort unfinished upload of", upload.Key, err)
		}
		aborted++
	}
	return aborted, nil
}

// unfinished lists the uploads, and says what time it was by the store's clock.
func (s *Store) unfinished(ctx context.Context, prefix string) (all []minio.ObjectMultipartInfo, now time.Time, err error) {
	var keyMarker, idMarker string
	for {
		x := &exchange{}
		page, err := s.client.ListMultipartUploads(x.in(ctx), s.bucket, prefix, keyMarker, idMarker, "", 1000)
		switch {
		case answer(err).Code == noSuchUpload: // rclone's way to say that there are none
			return all, now, nil
		case err != nil:
			return nil, now, err
		}
		if now, err = http.ParseTime(x.got.Get("Date")); err != nil {
			return nil, now, fmt.Errorf("the store does not say what time it is: %w", err)
		}
		all = append(all, page.Uploads...)
		if !page.IsTruncated {
			return all, now, nil
		}
		if page.NextKeyMarker == keyMarker && page.NextUploadIDMarker == idMarker {
			return nil, now, errors.New("the listing does not move on")
		}
		keyMarker, idMarker = page.NextKeyMarker, page.NextUploadIDMarker
	}
}
