package syncer

import (
	"context"
	"io"
	"sync"

	"github.com/minio/crc64nvme"

	"github.com/minio-sidecar/minio-sidecar/syncer/attrs"
	"github.com/minio-sidecar/minio-sidecar/syncer/dirty"
	"github.com/minio-sidecar/minio-sidecar/syncer/metrics"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// growing remembers files that have not rested for long, to tell a log, which
// only grows, from anything else. A prefix that reads the same before and after
// more was appended, and once more when it is sent, is a state that the file had.
type growing struct {
	mu   sync.Mutex
	seen map[string]prefix
}

// prefix is the beginning of a file as it was read once.
type prefix struct {
	inode uint64
	size  int64
	sum   uint64
}

func newGrowing() *growing { return &growing{seen: map[string]prefix{}} }

func (g *growing) get(key string) (prefix, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, ok := g.seen[key]
	return p, ok
}

func (g *growing) set(key string, p prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen[key] = p
}

func (g *growing) forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.seen, key)
}

// uploadGrowing looks at a file that has not rested for long. If it has only
// grown since the last such look, what it held at that look's end, or more, is
// published and the path stays dirty. Otherwise grew is false, and it is for
// an ordinary upload to find out whether the file rests by now.
func (e *Engine) uploadGrowing(ctx context.Context, item plan.Item) (r result, grew bool, err error) {
	f, err := e.tree.OpenFile(item.Key)
	if err != nil {
		return result{}, false, err
	}
	defer f.Close()
	now, err := f.Stat()
	if err != nil {
		return result{}, false, err
	}
	before, known := e.growing.get(item.Key)
	sum, old, err := sums(ctx, f, now.Size, before.size)
	if err != nil {
		return result{}, false, nil // shrinking under our hands
	}
	this := prefix{inode: now.Inode, size: now.Size, sum: sum}
	e.growing.set(item.Key, this)
	if !known || before.inode != this.inode || before.size >= this.size || before.sum != old {
		return result{}, false, nil
	}

	u := store.Upload{
		Key:      e.cfg.Prefix + item.Key,
		Body:     f,
		Size:     now.Size,
		Metadata: attrs.Encode(now.Kind, now.Attrs),

		Condition: still(item.Remote),
		// What is sent is what was just read.
		CRC64NVME: &this.sum,
	}
	now.Key = item.Key
	obj, err := e.put(ctx, u, now)
	if err != nil {
		return result{}, false, err
	}
	e.metrics.Uploads(metrics.OK)
	e.metrics.UploadBytes(u.Size)
	// The base says what was published; the file is ahead of it, and so dirty.
	const reason = "grows all the time: published up to a minute late"
	return result{outcome: dirty.Advanced, reason: reason, put: agreed(now, obj.ETag)}, true, nil
}

// sums reads the first size bytes of f and returns their checksum, a CRC64NVME,
// and that of the first part of them.
func sums(ctx context.Context, f *tree.File, size, part int64) (whole, first uint64, err error) {
	sum := crc64nvme.New()
	section := io.NewSectionReader(f, 0, size)
	buf := make([]byte, 128<<10)
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		if off == part {
			first = sum.Sum64()
		}
		n := int64(len(buf))
		if off < part {
			n = min(n, part-off)
		}
		n = min(n, size-off)
		if _, err := io.ReadFull(section, buf[:n]); err != nil {
			return 0, 0, err
		}
		_, _ = sum.Write(buf[:n])
		off += n
	}
	if part == size {
		first = sum.Sum64()
	}
	return sum.Sum64(), first, nil
}
