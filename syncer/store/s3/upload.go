package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/bits"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

const (
	// maxSingle is the largest object that is read into memory and sent in one
	// request; larger ones go in parts.
	maxSingle = 8 << 20
	// maxBuffered bounds the memory of all of those together.
	maxBuffered = 32 << 20
	// abortTimeout bounds the tidying up after a failed upload.
	abortTimeout = 10 * time.Second
	// hasteTimeout is the same where the caller waits to end: what is killed
	// because it does not end cannot say any more what it has not done.
	hasteTimeout = 2 * time.Second
	// partWorkers is how many parts of one object travel at a time.
	partWorkers = 4
)

// Upload implements [store.Store].
func (s *Store) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	etag, err := s.upload(ctx, u)
	if err != nil {
		return store.Object{}, s.fail(ctx, "upload", u.Key, conditional(u.Condition, err))
	}
	return store.Object{Key: u.Key, Size: u.Size, ETag: etag, Metadata: u.Metadata}, nil
}

func (s *Store) upload(ctx context.Context, u store.Upload) (etag string, err error) {
	if u.Size < 0 || u.Size > maxSize {
		return "", fmt.Errorf("its size is %d bytes, S3 takes at most %d", u.Size, int64(maxSize))
	}
	if err := checkKey(u.Key); err != nil {
		return "", err
	}
	doubt, err := s.doubtful(ctx, u.Key)
	if err == nil && doubt != nil && !u.IfAbsent {
		doubt, err = s.mayReplace(ctx, u.Key, doubt)
	}
	if err != nil {
		return "", err
	}
	s.clear.forget(u.Key)
	defer s.clear.forget(u.Key)
	if u.Size <= maxSingle {
		etag, err = s.uploadSingle(ctx, u)
	} else {
		etag, err = s.uploadParts(ctx, u)
	}
	switch {
	case err == nil && etag == "":
		err = errors.New("the store did not say the object's ETag")
	case err != nil:
		err = markRefusal(s.explain(ctx, u.Key, err))
	case doubt != nil:
		err = s.checkListed(ctx, u.Key, etag, doubt)
	}
	return etag, err
}

// uploadSingle reads the whole body, commits and sends it.
func (s *Store) uploadSingle(ctx context.Context, u store.Upload) (string, error) {
	buffer, release, err := s.buffer(ctx, u.Size)
	if err != nil {
		return "", err
	}
	defer release()
	if err := readFull(u.Body, buffer, 0); err != nil {
		return "", err
	}
	sum := updateCRC(0, buffer)
	if err := commit(u, sum); err != nil {
		return "", err
	}
	opts := putOptions(u.Metadata)
	opts.UserMetadata[checksumHeader] = encodeCRC(sum)
	setCondition(&opts, u.Condition)
	body := &requestBody{r: bytes.NewReader(buffer), left: u.Size}
	info, err := s.client.PutObject(ctx, s.bucket, u.Key, body, u.Size, "", "", opts)
	return info.ETag, body.finish(err)
}

// uploadParts sends the parts straight from the body, several at a time,
// commits and completes. Whatever fails, no unfinished upload is left.
func (s *Store) uploadParts(ctx context.Context, u store.Upload) (_ string, err error) {
	opts := putOptions(u.Metadata)
	opts.UserMetadata[checksumAlgorithm] = checksumName
	opts.UserMetadata[checksumType] = checksumFullObject
	id, err := s.client.NewMultipartUpload(ctx, s.bucket, u.Key, opts)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil && s.tidy(ctx, u.Key, id) != nil {
			return
		}
		if u.Ended != nil {
			u.Ended(id)
		}
	}()
	if u.Begun != nil {
		if err := u.Begun(id); err != nil {
			return "", &localError{err}
		}
	}

	size := partSize(u.Size, s.partSize)
	count := int((u.Size + size - 1) / size)
	parts := make([]minio.CompletePart, count)
	sums := make([]uint64, count)

	// When a part fails no further ones are begun, but those on their way may
	// arrive: a part that comes after the upload was aborted can revive it.
	g, others := errgroup.WithContext(ctx)
	g.SetLimit(partWorkers)
	for i := range parts {
		from := int64(i) * size
		length := min(size, u.Size-from)
		g.Go(func() error {
			if err := s.transfers.Acquire(others, 1); err != nil {
				return err
			}
			defer s.transfers.Release(1)
			return retry(others, func() (err error) {
				parts[i], sums[i], err = s.uploadPart(ctx, u, id, i+1, from, length)
				return err
			})
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	whole := sums[0]
	for i := 1; i < count; i++ {
		whole = crc64NVMEPoly.combine(whole, sums[i], min(size, u.Size-int64(i)*size))
	}
	if err := commit(u, whole); err != nil {
		return "", err
	}
	var done minio.PutObjectOptions
	done.UserMetadata = map[string]string{checksumHeader: encodeCRC(whole), checksumType: checksumFullObject}
	setCondition(&done, u.Condition)
	info, err := s.client.CompleteMultipartUpload(ctx, s.bucket, u.Key, id, parts, done)
	return info.ETag, err
}

// tidy aborts an upload that failed, or that is to end because the process is.
func (s *Store) tidy(ctx context.Context, key, id string) error {
	limit := abortTimeout
	if ctx.Err() != nil {
		limit = hasteTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	return s.abort(ctx, key, id)
}

// uploadPart sends one part. A store that has checked its checksum says so. To
// one that does not (`rclone serve s3` checks only what comes in one request)
// the part is sent again, and all later ones at once, with an MD5, which has
// always been part of S3.
func (s *Store) uploadPart(ctx context.Context, u store.Upload, id string, number int, from, length int64) (minio.CompletePart, uint64, error) {
	asked := s.wantsMD5.Load()
	part, sum, err := s.sendPart(ctx, u, id, number, from, length, asked)
	if err == nil && part.ChecksumCRC64NVME == "" && !asked {
		s.wantsMD5.Store(true)
		part, sum, err = s.sendPart(ctx, u, id, number, from, length, true)
		if class(err) == nil && answer(err).StatusCode != 0 {
			// rclone takes a part once more only if it is what it has already.
			err = fmt.Errorf("%w: the store has another part than was sent: %w", store.ErrDamaged, err)
		}
	}
	return part, sum, err
}

// sendPart reads the part twice: once for the checksum that goes ahead of it,
// once to send it; what changes in between the store refuses.
func (s *Store) sendPart(ctx context.Context, u store.Upload, id string, number int, from, length int64, withMD5 bool) (minio.CompletePart, uint64, error) {
	var also hash.Hash = discard{}
	if withMD5 {
		also = md5.New()
	}
	sum, err := sumRange(u.Body, from, length, also)
	if err != nil {
		return minio.CompletePart{}, 0, err
	}
	body := &requestBody{r: io.NewSectionReader(u.Body, from, length), left: length}
	part, err := s.client.PutObjectPart(ctx, s.bucket, u.Key, id, number, body, length, minio.PutObjectPartOptions{
		DisableContentSha256: true,
		CustomHeader:         http.Header{http.CanonicalHeaderKey(checksumHeader): {encodeCRC(sum)}},
		Md5Base64:            base64.StdEncoding.EncodeToString(also.Sum(nil)), // empty for none
	})
	if err = body.finish(err); errors.Is(class(err), store.ErrDamaged) {
		// On its way, or is it another by now?
		again, failed := sumRange(u.Body, from, length, discard{})
		switch {
		case failed != nil:
			err = failed
		case again != sum:
			err = &localError{store.ErrBodyChanged}
		}
	}
	return minio.CompletePart{
		PartNumber:        number,
		ETag:              part.ETag,
		ChecksumCRC64NVME: part.ChecksumCRC64NVME,
	}, sum, err
}

// commit asks the caller whether what was read, which has this checksum, may be
// published.
func commit(u store.Upload, sum uint64) error {
	if u.CRC64NVME != nil && *u.CRC64NVME != sum {
		return &localError{store.ErrBodyChanged}
	}
	if u.Commit == nil {
		return nil
	}
	if err := u.Commit(); err != nil {
		return &localError{err}
	}
	return nil
}

// putOptions carries metadata, and no hash but our own: over plain HTTP
// minio-go would otherwise sign every chunk's SHA-256.
func putOptions(metadata map[string]string) minio.PutObjectOptions {
	m := make(map[string]string, len(metadata)+2)
	for name, value := range metadata {
		m["x-amz-meta-"+strings.ToLower(name)] = value
	}
	return minio.PutObjectOptions{UserMetadata: m, DisableContentSha256: true}
}

// conditional turns "not found" into what it says of a condition: where there
// is nothing, nothing matches.
func conditional(c store.Condition, err error) error {
	if c.IfMatch != "" && errors.Is(class(err), store.ErrNotFound) {
		return fmt.Errorf("%w: %w", store.ErrPrecondition, err)
	}
	return err
}

func setCondition(opts *minio.PutObjectOptions, c store.Condition) {
	if c.IfMatch != "" {
		opts.SetMatchETag(c.IfMatch)
	}
	if c.IfAbsent {
		opts.SetMatchETagExcept("*")
	}
}

// partSize is the smallest multiple of a MiB, but at least preferred, of which
// 10,000 hold size bytes.
func partSize(size, preferred int64) int64 {
	const unit = 1 << 20
	least := (size + maxParts - 1) / maxParts
	return max(preferred, (least+unit-1)/unit*unit)
}

// readFull fills b from offset. A file that has become shorter is an error.
func readFull(r io.ReaderAt, b []byte, offset int64) error {
	if len(b) == 0 {
		return nil
	}
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("it ended after %d bytes: %w", offset+int64(n), io.ErrUnexpectedEOF)
	}
	return &localError{fmt.Errorf("read the file: %w", err)}
}

// sumRange is the checksum of a range, which also goes into a hash.
func sumRange(r io.ReaderAt, from, length int64, also hash.Hash) (uint64, error) {
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	var sum uint64
	for length > 0 {
		b := (*buffer)[:min(length, int64(len(*buffer)))]
		if err := readFull(r, b, from); err != nil {
			return 0, err
		}
		sum = updateCRC(sum, b)
		also.Write(b)
		from += int64(len(b))
		length -= int64(len(b))
	}
	return sum, nil
}

// requestBody is what a request sends. net/http may go on reading it after the
// answer has come, so it can be shut before its bytes are used otherwise. It
// remembers why reading failed, which net/http wraps into the same error as a
// lost connection.
type requestBody struct {
	mu   sync.Mutex
	r    io.Reader
	left int64 // bytes that r still owes
	shut bool
	err  error
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shut {
		return 0, errShut
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if errors.Is(err, io.EOF) && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

var errShut = errors.New("the request is over")

// finish shuts the body and returns the error of the request that sent it.
func (b *requestBody) finish(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	if err != nil && b.err != nil {
		return &localError{fmt.Errorf("read the file: %w", b.err)}
	}
	return err
}

const copyBufferSize = 256 << 10

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copyBufferSize); return &b }}

// singleBuffers are pools of buffers of 4 KiB, 8 KiB … 8 MiB.
var singleBuffers [12]sync.Pool

// buffer returns a buffer of size bytes, waiting while too much memory is in
// use, and what gives it back.
func (s *Store) buffer(ctx context.Context, size int64) ([]byte, func(), error) {
	order := max(0, bits.Len64(uint64(max(size, 1)-1))-12)
	capacity := int64(4096) << order
	if err := s.buffered.Acquire(ctx, capacity); err != nil {
		return nil, nil, err
	}
	pool := &singleBuffers[order]
	b, ok := pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, capacity)
		b = &fresh
	}
	return (*b)[:size], func() {
		pool.Put(b)
		s.buffered.Release(capacity)
	}, nil
}
