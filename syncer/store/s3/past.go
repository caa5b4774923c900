package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// At implements [store.Store].
func (s *Store) At(ctx context.Context, t time.Time) (store.Reader, error) {
	versions, err := s.client.GetBucketVersioning(ctx, s.bucket)
	switch {
	case err != nil && !isUnsupported(err):
		return nil, s.fail(ctx, "look at the versions of", "", err)
	case err != nil || !versions.Enabled():
		return nil, s.fail(ctx, "look at the versions of", "", store.ErrNoVersions)
	}
	return &past{s, t}, nil
}

// past is a bucket as it was.
type past struct {
	s  *Store
	at time.Time
}

// List implements [store.Reader]. It holds one page of at most 1,000 versions.
func (p *past) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for info, err := range p.versions(ctx, prefix) {
			if err != nil {
				yield(store.Object{}, p.s.fail(ctx, "list the versions below", prefix, err))
				return
			}
			if !yield(p.object(info), nil) {
				return
			}
		}
	}
}

// versions yields, of every key that existed, the version that was current. A
// store whose versions are out of order is refused rather than believed:
// versitygw 1.8 lists delete markers apart, and gives a version the time at
// which it was replaced.
func (p *past) versions(ctx context.Context, prefix string) iter.Seq2[minio.ObjectInfo, error] {
	return func(yield func(minio.ObjectInfo, error) bool) {
		all := p.s.client.ListObjectsIter(ctx, p.s.bucket, minio.ListObjectsOptions{
			Prefix: prefix, Recursive: true, WithVersions: true,
		})
		var current *minio.ObjectInfo // of key, as far as it was listed
		last, first := "", true
		var newer time.Time // of the version before
		end := func() bool {
			return current == nil || current.IsDeleteMarker || yield(*current, nil)
		}
		for info := range all {
			err := info.Err
			switch {
			case err != nil:
			case !isSize(info.Size):
				err = errSize(info)
			case !strings.HasPrefix(info.Key, prefix):
				err = fmt.Errorf("the store answered with key %q, which is not below the prefix", info.Key)
			case !first && info.Key < last:
				err = fmt.Errorf("%w that are listed in byte order: %q came after %q", store.ErrNoVersions, info.Key, last)
			case !first && info.Key == last && info.LastModified.After(newer):
				err = fmt.Errorf("%w with the times at which they were written: of %q an older one is later", store.ErrNoVersions, info.Key)
			case info.VersionID == "" && !info.IsDeleteMarker:
				err = fmt.Errorf("%w with names: that of %q has none", store.ErrNoVersions, info.Key)
			}
			newer = info.LastModified
			if err != nil {
				yield(minio.ObjectInfo{}, err)
				return
			}
			if first || info.Key != last {
				if !end() {
					return
				}
				last, first, current = info.Key, false, nil
			}
			if current == nil && !info.LastModified.After(p.at) {
				current = &info // of one key the newest comes first
			}
		}
		// minio-go ends the listing in silence when the context has ended.
		if err := ctx.Err(); err != nil {
			yield(minio.ObjectInfo{}, err)
			return
		}
		end()
	}
}

func (p *past) object(info minio.ObjectInfo) store.Object {
	o := listed(info)
	o.ETag = store.VersionETag(info.ETag, info.VersionID)
	return o
}

// find looks up which version of key was current.
func (p *past) find(ctx context.Context, key string) (minio.ObjectInfo, error) {
	if err := checkKey(key); err != nil {
		return minio.ObjectInfo{}, err
	}
	for info, err := range p.versions(ctx, key) {
		if err != nil || info.Key == key {
			return info, err
		}
		break // keys that begin like it come after it
	}
	return minio.ObjectInfo{}, fmt.Errorf("%w at %s", store.ErrNotFound, p.at.UTC().Format(time.RFC3339))
}

// Stat implements [store.Reader].
func (p *past) Stat(ctx context.Context, key string) (store.Object, error) {
	info, err := p.find(ctx, key)
	if err == nil {
		version := info.VersionID
		info, err = p.s.headVersion(ctx, key, version)
		info.VersionID = version
	}
	if err != nil {
		return store.Object{}, p.s.fail(ctx, "look up", key, err)
	}
	return p.whole(info), nil
}

// whole is an object with its metadata.
func (p *past) whole(info minio.ObjectInfo) store.Object {
	o := object(info)
	o.ETag = store.VersionETag(info.ETag, info.VersionID)
	return o
}

// Read implements [store.Reader].
func (p *past) Read(ctx context.Context, key string) ([]byte, store.Object, error) {
	info, err := p.find(ctx, key)
	if err != nil {
		return nil, store.Object{}, p.s.fail(ctx, "read", key, err)
	}
	etag := store.VersionETag(info.ETag, info.VersionID)
	content, o, err := p.s.read(ctx, key, etag)
	if err == nil {
		o.ETag = etag
	}
	return content, o, err
}

// Download implements [store.Reader].
func (p *past) Download(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (store.Object, error) {
	if _, version := store.SplitETag(etag); version == "" {
		info, err := p.find(ctx, key)
		if err != nil {
			return store.Object{}, p.s.fail(ctx, "download", key, err)
		}
		if etag != "" && info.ETag != etag {
			return store.Object{}, p.s.fail(ctx, "download", key, store.ErrPrecondition)
		}
		etag = store.VersionETag(info.ETag, info.VersionID)
	}
	o, err := p.s.Download(ctx, key, etag, size, dst)
	if errors.Is(err, store.ErrNotFound) {
		// It was there a moment ago: somebody removes versions.
		err = fmt.Errorf("%w (its version was removed)", err)
	}
	if err == nil {
		o.ETag = etag
	}
	return o, err
}
