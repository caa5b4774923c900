package s3

import (
	"context"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// CheckBucket implements [store.Store].
func (s *Store) CheckBucket(ctx context.Context) error {
	exists, err := s.client.BucketExists(ctx, s.bucket)
	if err == nil && !exists {
		err = store.ErrNoBucket
	}
	if err != nil {
		return s.fail(ctx, "look for", "", err)
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
		if err != nil {
			return aborted, s.fail(ctx, "list unfinished uploads below", prefix, err)
		}
		for _, upload := range page.Uploads {
			if time.Since(upload.Initiated) < olderThan {
				continue
			}
			err := s.client.AbortMultipartUpload(ctx, s.bucket, upload.Key, upload.UploadID)
			if err != nil && answer(err).Code != "NoSuchUpload" {
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
