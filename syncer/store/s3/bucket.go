package s3

import (
	"context"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
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

// isUnsupported says whether a store refused because it does not know how.
func isUnsupported(err error) bool {
	response := answer(err)
	switch response.Code {
	case "NotImplemented", "APINotSupported", "MethodNotAllowed", "VersioningNotConfigured":
		return true
	}
	return response.StatusCode == http.StatusNotImplemented || response.StatusCode == http.StatusMethodNotAllowed
}

// AbortUploads drops the unfinished multipart uploads below prefix that were
// begun at least olderThan ago (by the store's clock): what crashed uploaders
// leave behind, invisible but paid for. It returns how many it dropped.
func (s *Store) AbortUploads(ctx context.Context, prefix string, olderThan time.Duration) (int, error) {
	// The store's clock decides, so that a wrong one here drops nothing.
	var aborted int
	var keyMarker, idMarker string
	for {
		page, err := s.client.ListMultipartUploads(ctx, s.bucket, prefix, keyMarker, idMarker, "", 1000)
		if answer(err).Code == noSuchUpload {
			return aborted, nil // rclone's way to say that there are none
		}
		if err != nil {
			return aborted, s.fail(ctx, "list unfinished uploads below", prefix, err)
		}
		for _, upload := range page.Uploads {
			if time.Since(upload.Initiated) < olderThan {
				continue
			}
			if err := s.abort(ctx, upload.Key, upload.UploadID); err != nil {
				return aborted, s.fail(ctx, "abort unfinished upload of", upload.Key, err)
			}
			aborted++
		}
		if !page.IsTruncated {
			return aborted, nil
		}
		if page.NextKeyMarker == keyMarker && page.NextUploadIDMarker == idMarker {
			return aborted, s.fail(ctx, "list unfinished uploads below", prefix, errStuckListing)
		}
		keyMarker, idMarker = page.NextKeyMarker, page.NextUploadIDMarker
	}
}
