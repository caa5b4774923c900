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

const (
	// minParallel is the size from which an object is fetched as several ranges.
	minParallel = 32 << 20
	// maxRange bounds one of them. Each costs the store a look at the object
	// before the first byte, so long ones are cheaper; a range that breaks is
	// taken up where it broke, so they risk nothing. But the last ones should
	// end at about the same time.
	maxRange = 64 << 20
)

// Download implements [store.Store]. A connection that breaks in the middle is
// taken up where it broke.
func (s *Store) Download(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (store.Object, error) {
	var info minio.ObjectInfo
	var err error
	if size < minParallel {
		info, err = s.downloadWhole(ctx, key, etag, size, dst)
	} else {
		info, err = s.downloadRanges(ctx, key, etag, size, dst)
	}
	if err != nil {
		return store.Object{}, s.fail(ctx, "download", key, err)
	}
	return object(info), nil
}

// downloadWhole is one request.
func (s *Store) downloadWhole(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (minio.ObjectInfo, error) {
	body, info, err := s.get(ctx, key, etag, nil)
	if err != nil {
		return info, s.explainUnreadable(ctx, key, err)
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
	done, err := copyAt(dst, 0, body, size, h)
	if err != nil {
		if !errors.Is(class(err), store.ErrUnreachable) {
			return info, err
		}
		rest := byteRange{done, size}
		if err := s.fetch(ctx, key, sameState(info, etag), rest, dst, h); err != nil {
			return info, err
		}
	}
	return info, d.check(h.Sum(nil))
}

// downloadRanges asks what there is and then fetches the pieces of just that,
// several at a time.
func (s *Store) downloadRanges(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (minio.ObjectInfo, error) {
	plain, version := store.SplitETag(etag)
	info, err := s.headVersion(ctx, key, version)
	switch {
	case err != nil:
		return info, err
	case plain != "" && info.ETag != plain:
		return info, store.ErrPrecondition
	}
	etag = sameState(info, etag)
	if err := checkSize(info, size); err != nil {
		return info, err
	}
	d, err := s.digest(ctx, info)
	switch {
	case err != nil:
		return info, err
	case d.known() && !d.piecewise():
		return s.downloadWhole(ctx, key, etag, size, dst)
	}

	length := s.rangeLength(size)
	if d.partLength > 0 {
		length = d.partLength
	}
	pieces := make([]piece, (size+length-1)/length)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(partWorkers)
	for i := range pieces {
		r := byteRange{int64(i) * length, min(int64(i+1)*length, size)}
		g.Go(func() error {
			if err := s.transfers.Acquire(ctx, 1); err != nil {
				return err
			}
			defer s.transfers.Release(1)
			h := d.pieceHasher()
			err := s.fetch(ctx, key, etag, r, dst, h)
			pieces[i] = piece{sum: h.Sum(nil), length: r.to - r.from}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return info, err
	}
	return info, d.checkPieces(pieces)
}

// rangeLength is such that all workers have about as much to fetch, and that
// no range begins in the middle of a block of zeroes.
func (s *Store) rangeLength(size int64) int64 {
	const unit = partWorkers << 20
	each := (size + unit - 1) / unit << 20
	return max(s.partSize, min(each, maxRange))
}

// sameState is the ETag that fetches more of what info describes, which was
// asked for as etag.
func sameState(info minio.ObjectInfo, etag string) string {
	if _, version := store.SplitETag(etag); version != "" {
		return store.VersionETag(info.ETag, version)
	}
	return info.ETag
}

// digest is digestOf, and finds out how long parts are where that matters.
func (s *Store) digest(ctx context.Context, info minio.ObjectInfo) (digest, error) {
	d := digestOf(info)
	if d.parts == 0 {
		return d, nil
	}
	var opts minio.StatObjectOptions
	opts.PartNumber, opts.VersionID = 1, info.VersionID
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

// fetch copies r to dst and into h. It gives up after several tries of which
// none got any further.
func (s *Store) fetch(ctx context.Context, key, etag string, r byteRange, dst io.WriterAt, h hash.Hash) error {
	for {
		before := r.from
		err := retry(ctx, func() error {
			n, err := s.fetchOnce(ctx, key, etag, r, dst, h)
			r.from += n
			if err != nil && n >= minProgress {
				return errProgress
			}
			return err
		})
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, errProgress) || r.from == before:
			return s.explainUnreadable(ctx, key, err)
		}
	}
}

// errProgress says that a connection broke, but only after it had been of use.
var errProgress = errors.New("connection lost in the middle")

// minProgress in bytes is what makes a broken connection worth a fresh start.
const minProgress = 64 << 10

// fetchOnce returns how much of r arrived.
func (s *Store) fetchOnce(ctx context.Context, key, etag string, r byteRange, dst io.WriterAt, h hash.Hash) (int64, error) {
	body, info, err := s.get(ctx, key, etag, &r)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	if info.Size != r.to-r.from {
		return 0, fmt.Errorf("the store answered %d bytes for the range %d-%d", info.Size, r.from, r.to-1)
	}
	return copyAt(dst, r.from, body, r.to-r.from, h)
}

// explainUnreadable tells a store that finds an object damaged on its disks
// from one that is out of reach. S3 has no code for the former: MinIO says that
// it cannot read just now, or breaks off in the middle, again and again.
func (s *Store) explainUnreadable(ctx context.Context, key string, err error) error {
	said := answer(err)
	_, unanswered := errors.AsType[*url.Error](err)
	if unanswered || !errors.Is(class(err), store.ErrUnreachable) || said.Code != "" && said.Code != "SlowDownRead" {
		return err
	}
	if _, headErr := s.head(ctx, key); headErr != nil {
		return err
	}
	return fmt.Errorf("%w: the store answers, but cannot read this object: %w", store.ErrDamaged, err)
}

// checkSize: what is of another size is not what the caller saw.
func checkSize(info minio.ObjectInfo, size int64) error {
	if info.Size != size {
		return fmt.Errorf("%w: it has %d bytes now, %d were expected", store.ErrPrecondition, info.Size, size)
	}
	return nil
}

// copyAt copies exactly length bytes of r to dst at offset and into h, and
// returns how many of them arrived. dst gets whole aligned pieces, whatever
// pieces the network has: what looks for zeroes to leave out, block by block,
// would not see them in blocks that come in two halves.
func copyAt(dst io.WriterAt, offset int64, r io.Reader, length int64, h hash.Hash) (int64, error) {
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	var done int64
	for done < length {
		piece := copyBufferSize - (offset+done)%copyBufferSize
		b := (*buffer)[:min(length-done, piece)]
		n, readErr := io.ReadFull(r, b)
		if n > 0 {
			if _, err := dst.WriteAt(b[:n], offset+done); err != nil {
				return done, &localError{err}
			}
			h.Write(b[:n])
			done += int64(n)
		}
		if readErr != nil {
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
