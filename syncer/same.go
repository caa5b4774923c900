package syncer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// sameBytes compares with the object's content as it arrives: an ETag that
// differs proves nothing where the store encrypts or the object came in parts.
// It takes no room in the volume, which may have none.
func (e *Engine) sameBytes(ctx context.Context, f *tree.File, obj store.Object) (bool, error) {
	c := &comparison{with: f}
	if _, err := e.load(ctx, obj.Key[len(e.cfg.Prefix):], obj.ETag, obj.Size, c); err != nil {
		return false, err
	}
	return !c.differs.Load(), nil
}

// comparison is written to like a copy of what it compares with. It goes on to
// the end where a difference was found: only a whole download is checked, and
// an object that is damaged is not one that differs.
type comparison struct {
	with    io.ReaderAt // nil: nothing to compare with, whatever is read differs
	differs atomic.Bool
}

// WriteAt may be called from several goroutines.
func (c *comparison) WriteAt(b []byte, offset int64) (int, error) {
	if c.with == nil {
		c.differs.Store(true)
		return len(b), nil
	}
	have := make([]byte, len(b))
	n, err := c.with.ReadAt(have, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if n < len(b) || !bytes.Equal(have, b) {
		c.differs.Store(true)
	}
	return len(b), nil
}
