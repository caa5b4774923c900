package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// codes maps S3 error codes to what they mean to the engine. Codes of MinIO
// begin with XMinio; the others are Amazon's, see
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
var codes = map[string]error{
	"NoSuchKey":     store.ErrNotFound,
	"NoSuchVersion": store.ErrNotFound,
	"NoSuchBucket":  store.ErrNoBucket,

	"PreconditionFailed":         store.ErrPrecondition,
	"ConditionalRequestConflict": store.ErrPrecondition,

	"AccessDenied":          store.ErrAccessDenied,
	"AllAccessDisabled":     store.ErrAccessDenied,
	"AccountProblem":        store.ErrAccessDenied,
	"ExpiredToken":          store.ErrAccessDenied,
	"ExpiredTokenException": store.ErrAccessDenied,
	"InvalidAccessKeyId":    store.ErrAccessDenied,
	"InvalidToken":          store.ErrAccessDenied,
	"InvalidTokenId":        store.ErrAccessDenied,
	"NotSignedUp":           store.ErrAccessDenied,
	"SignatureDoesNotMatch": store.ErrAccessDenied,
	"UnauthorizedAccess":    store.ErrAccessDenied,
	"XAdminUserNotFound":    store.ErrAccessDenied, // versitygw
	"BucketAlreadyExists":   store.ErrAccessDenied, // and belongs to someone else

	"RequestTimeTooSkewed": store.ErrClock,

	"KeyTooLongError":           store.ErrKeyRejected,
	"InvalidURI":                store.ErrKeyRejected,
	"XMinioInvalidObjectName":   store.ErrKeyRejected,
	"XMinioInvalidResourceName": store.ErrKeyRejected, // a segment that reads like . or ..
	"XMinioInvalidUTF":          store.ErrKeyRejected,

	"XMinioObjectExistsAsDirectory": store.ErrKeyConflict,
	"XMinioParentIsObject":          store.ErrKeyConflict,
	"ObjectParentIsFile":            store.ErrKeyConflict, // versitygw
	"ExistingObjectIsDirectory":     store.ErrKeyConflict, // versitygw

	"XMinioStorageFull":              store.ErrFull,
	"XMinioAdminBucketQuotaExceeded": store.ErrFull,
	"QuotaExceeded":                  store.ErrFull,
	"InsufficientStorage":            store.ErrFull,

	"BadDigest":                   store.ErrDamaged,
	"InvalidDigest":               store.ErrDamaged,
	"XAmzContentChecksumMismatch": store.ErrDamaged,
	"XAmzContentSHA256Mismatch":   store.ErrDamaged,
	"XMinioObjectTampered":        store.ErrDamaged,

	"RequestTimeout":      store.ErrUnreachable, // a 400: the body came too slowly
	"IncompleteBody":      store.ErrUnreachable,
	"OperationAborted":    store.ErrUnreachable, // a 409: try again
	"SlowDown":            store.ErrBusy,
	"Throttling":          store.ErrBusy,
	"ThrottlingException": store.ErrBusy,
	"TooManyRequests":     store.ErrBusy,
}

// statuses is for answers without a code that is known: answers to HEAD have
// no body, and proxies have codes of their own.
var statuses = map[int]error{
	http.StatusUnauthorized:        store.ErrAccessDenied,
	http.StatusForbidden:           store.ErrAccessDenied,
	http.StatusPreconditionFailed:  store.ErrPrecondition,
	http.StatusRequestURITooLong:   store.ErrKeyRejected,
	http.StatusRequestTimeout:      store.ErrUnreachable,
	http.StatusTooManyRequests:     store.ErrBusy,
	http.StatusServiceUnavailable:  store.ErrBusy,
	http.StatusInsufficientStorage: store.ErrFull,
}

// class says which of the store's errors err is, nil if none of them. This is
// the one place that knows.
func class(err error) error {
	if _, ok := errors.AsType[*localError](err); ok {
		return nil
	}
	for _, known := range []error{
		store.ErrNotFound, store.ErrNoBucket, store.ErrClock, store.ErrAccessDenied, store.ErrPrecondition, store.ErrBusy, store.ErrUnreachable,
		store.ErrFull, store.ErrKeyRejected, store.ErrKeyConflict, store.ErrNoVersions, store.ErrDamaged,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	if response := answer(err); response != (minio.ErrorResponse{}) {
		if known, ok := codes[response.Code]; ok {
			return known
		}
		if known, ok := statuses[response.StatusCode]; ok {
			return known
		}
		if response.StatusCode >= 500 && response.StatusCode != http.StatusNotImplemented {
			return store.ErrUnreachable
		}
		return nil
	}
	// The caller's own end of patience is not the store's doing.
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	_, isURL := errors.AsType[*url.Error](err)
	_, isNet := errors.AsType[net.Error](err)
	if isURL || isNet || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return store.ErrUnreachable
	}
	return nil
}

// answer is what the store said, zero if it said nothing.
func answer(err error) minio.ErrorResponse {
	response, _ := errors.AsType[minio.ErrorResponse](err)
	return response
}

// fail words the error of one action on one object (or on the bucket, if key
// is empty) and gives it its class.
func (s *Store) fail(ctx context.Context, action, key string, err error) error {
	object := key
	if object == "" {
		object = "bucket " + s.bucket
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", action, object, context.Cause(ctx))
	}
	known := class(err)
	if s.creds != nil && errors.Is(known, store.ErrAccessDenied) {
		s.creds.doubt()
	}
	if known == nil || errors.Is(err, known) {
		return fmt.Errorf("%s %s: %w", action, object, err)
	}
	return fmt.Errorf("%s %s: %w: %w", action, object, known, err)
}

// refusal marks the error of an upload that certainly did not happen, and that
// nothing will make happen any more, as [store.ErrRefused].
type refusal struct{ error }

func (r refusal) Is(target error) bool { return target == store.ErrRefused }
func (r refusal) Unwrap() error        { return r.error }

// markRefusal tells a store that says no from one that does not know, or from
// whatever answers in its place. Of an unfinished upload that is not there it
// may be that it was completed.
func markRefusal(err error) error {
	said := answer(err)
	no := 400 <= said.StatusCode && said.StatusCode < 500 || said.StatusCode == http.StatusInsufficientStorage
	if !no || said.Code == noSuchUpload || errors.Is(class(err), store.ErrUnreachable) {
		return err
	}
	return refusal{err}
}

// localError is a failure of this machine's, of the file or of the caller's
// commit, which must not be taken for one of the store's.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }
