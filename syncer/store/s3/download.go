package s3

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// minParallel is the size from which an object is fetched as several ranges.
const minParallel = 32 << 20

// Download implements [store.Store].
func (s *Store) Download(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (store.Object, error) {
	var info minio.ObjectInfo
	var err error
	if size < minParallel {
		info, err = s.downloadWhole(ctx, key, etag, size, dst)
	} else {
		info, err = s.downloadRanges(ctx, key, etag, size, dst)
	}
	if err != nil {
		if s.unreadable(ctx, key, etag, size, err) {
			err = fmt.Errorf("%w: the store answers, but cannot read this object: %w", store.ErrDamaged, err)
		}
		return store.Object{}, s.fail(ctx, "download", key, err)
	}
	return object(info), nil
}

// unreadable tells a store that finds an object damaged on its disks from one
// that is out of reach. S3 has no code for the former: MinIO says that it is
// too busy, or breaks off in the middle.
func (s *Store) unreadable(ctx context.Context, key, etag string, size int64, err error) bool {
	if _, unanswered := errors.AsType[*url.Error](err); unanswered || !errors.Is(class(err), store.ErrUnreachable) {
		return false
	}
	for range 2 {
		if _, err := s.head(ctx, key); err != nil {
			return false
		}
		if size >= minParallel {
			return true // its pieces have been tried often enough
		}
		body, _, err := s.get(ctx, key, etag, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, body)
			body.Close()
		}
		if !errors.Is(class(err), store.ErrUnreachable) {
			return false
		}
	}
	return true
}

// downloadWhole is one request.
func (s *Store) downloadWhole(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (minio.ObjectInfo, error) {
	body, info, err := s.get(ctx, key, etag, nil)
	if err != nil {
		return info, err
	}
	defer body.Close()
	if err := checkSize(info, size); err != nil {
		return info, err
	}
	d, err := s.digest(ctx, info)
	if err != nil {
		return info, err
	}
	h := d.hasher()
	if _, err := copyAt(dst, 0, body, size, h); err != nil {
		return info, err
	}
	return info, d.check(h.Sum(nil))
}

// downloadRanges asks what there is and then fetches the pieces of just that,
// several at a time.
func (s *Store) downloadRanges(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (minio.ObjectInfo, error) {
	info, err := s.head(ctx, key)
	switch {
	case err != nil:
		return info, err
	case etag != "" && info.ETag != etag:
		return info, store.ErrPrecondition
	}
	if err := checkSize(info, size); err != nil {
		return info, err
	}
	d, err := s.digest(ctx, info)
	switch {
	case err != nil:
		return info, err
	case d.known() && !d.piecewise():
		return s.downloadWhole(ctx, key, info.ETag, size, dst)
	}

	length := partSize(size, s.partSize)
	if d.partLength > 0 {
		length = d.partLength
	}
	pieces := make([]piece, (size+length-1)/length)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(partWorkers)
	for i := range pieces {
		r := byteRange{from: int64(i) * length, to: min(int64(i+1)*length, size)}
		g.Go(func() error {
			if err := s.transfers.Acquire(gctx, 1); err != nil {
				return err
			}
			defer s.transfers.Release(1)
			h := d.pieceHasher()
			err := s.downloadRange(gctx, key, info.ETag, r, dst, h)
			pieces[i] = piece{sum: h.Sum(nil), length: r.to - r.from}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return info, err
	}
	return info, d.checkPieces(pieces)
}

// digest is digestOf, and finds out how long parts are where that matters.
func (s *Store) digest(ctx context.Context, info minio.ObjectInfo) (digest, error) {
	d := digestOf(info)
	if d.parts == 0 {
		return d, nil
	}
	var opts minio.StatObjectOptions
	opts.PartNumber = 1
	if err := opts.SetMatchETag(info.ETag); err != nil {
		return d, err
	}
	first, err := s.client.StatObject(ctx, s.bucket, info.Key, opts)
	switch known := class(err); {
	case errors.Is(known, store.ErrPrecondition), errors.Is(known, store.ErrUnreachable), errors.Is(known, store.ErrNotFound):
		return d, err
	case err == nil && first.Size > 0 && (info.Size+first.Size-1)/first.Size == d.parts:
		d.partLength = first.Size
	}
	// Otherwise the store does not say, or the parts differ in length: then
	// nothing can be checked but the size.
	return d, nil
}

// downloadRange fetches r, continuing where a lost connection left off.
func (s *Store) downloadRange(ctx context.Context, key, etag string, r byteRange, dst io.WriterAt, h hash.Hash) error {
	return retry(ctx, func() error {
		body, info, err := s.get(ctx, key, etag, &r)
		if err != nil {
			return err
		}
		defer body.Close()
		if info.Size != r.to-r.from {
			return fmt.Errorf("the store answered %d bytes for the range %d-%d", info.Size, r.from, r.to-1)
		}
		n, err := copyAt(dst, r.from, body, r.to-r.from, h)
		r.from += n
		return err
	})
}

// checkSize: what is of another size is not what the caller saw.
func checkSize(info minio.ObjectInfo, size int64) error {
	if info.Size != size {
		return fmt.Errorf("%w: it has %d bytes now, %d were expected", store.ErrPrecondition, info.Size, size)
	}
	return nil
}

// copyAt copies exactly length bytes of r to dst at offset and into h, and
// returns how many it wrote.
func copyAt(dst io.WriterAt, offset int64, r io.Reader, length int64, h hash.Hash) (int64, error) {
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	var done int64
	for done < length {
		b := (*buffer)[:min(length-done, int64(len(*buffer)))]
		n, readErr := r.Read(b)
		if n > 0 {
			if _, err := dst.WriteAt(b[:n], offset+done); err != nil {
				return done, &localError{err}
			}
			h.Write(b[:n])
			done += int64(n)
		}
		if readErr != nil && done < length {
			if errors.Is(readErr, io.EOF) {
				readErr = io.ErrUnexpectedEOF
			}
			return done, readErr
		}
	}
	// The end of the body frees the connection for the next request.
	if n, _ := r.Read((*buffer)[:1]); n > 0 {
		return done, fmt.Errorf("the store sent more than the %d bytes that it announced", length)
	}
	return done, nil
}

// retry repeats the transfer of one piece of a large object a few times when
// the connection was lost.
func retry(ctx context.Context, transfer func() error) error {
	policy := backoff.NewExponentialBackOff()
	policy.InitialInterval = 100 * time.Millisecond
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := transfer()
		if err != nil && (ctx.Err() != nil || !errors.Is(class(err), store.ErrUnreachable)) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(policy), backoff.WithMaxTries(5))
	return err
}
