package s3

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// List implements [store.Store]. It holds one page of at most 1,000 objects.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		noOwner := false
		pages := s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{
			Prefix:     prefix,
			Recursive:  true,
			FetchOwner: &noOwner,
		})
		// Callers merge listings with what they know, so a key out of order
		// would read as deleted.
		last, first := "", true
		for info := range pages {
			err := info.Err
			switch {
			case err != nil:
			case !isSize(info.Size):
				err = errSize(info)
			case !strings.HasPrefix(info.Key, prefix):
				err = fmt.Errorf("the store answered with key %q, which is not below the prefix", info.Key)
			case !first && info.Key <= last:
				err = fmt.Errorf("the store does not list in byte order: %q came after %q", info.Key, last)
			}
			if err != nil {
				yield(store.Object{}, s.fail(ctx, "list", prefix, err))
				return
			}
			last, first = info.Key, false
			if !yield(listed(info), nil) {
				return
			}
		}
		// minio-go ends the listing in silence when the context has ended.
		err := ctx.Err()
		if err == nil && first {
			err = s.checkNotHidden(ctx, prefix)
		}
		if err != nil {
			yield(store.Object{}, s.fail(ctx, "list", prefix, err))
		}
	}
}

// maxStored is more than any store takes as one object: Amazon's S3 and MinIO
// take 50 TiB.
const maxStored = 1 << 50

func isSize(n int64) bool { return 0 <= n && n <= maxStored }

// errSize says what is wrong with the store rather than with one object: what
// lies about sizes has its listing damaged.
func errSize(info minio.ObjectInfo) error {
	return fmt.Errorf("%w: the store says that %q has %d bytes", store.ErrDamaged, info.Key, info.Size)
}

func listed(info minio.ObjectInfo) store.Object {
	return store.Object{
		Key:          info.Key,
		Size:         info.Size,
		ETag:         info.ETag,
		LastModified: info.LastModified,
	}
}
