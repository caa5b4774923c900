package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

// auditor reads the bucket with a client and eyes of its own. Each object is
// read once; in a bucket with versions so is each that was ever there.
type auditor struct {
	w      *world
	client *minio.Core
	judge  func(path string, s record.State) string // what is wrong with an object

	mu    sync.Mutex
	keeps bool // what is history, too
	seen  map[identity]record.State
}

// identity is one object of one time.
type identity struct {
	key, version, etag string
	modified           int64
}

func newAuditor(w *world) *auditor {
	return &auditor{w: w, client: w.server.Client(w.t), judge: w.judge, seen: map[identity]record.State{}}
}

// look reads what is new, checks that it is whole, and returns what is
// current, by path.
func (a *auditor) look(ctx context.Context) (current map[string]record.State, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// What was listed may be gone when it is read: deleted by the syncer, or as
	// history by a look that was broken off before it had the answer.
	const looks = 5
	for range looks {
		current, err = a.lookOnce(ctx)
		var answer minio.ErrorResponse
		if !errors.As(err, &answer) || answer.Code != minio.NoSuchKey && answer.Code != minio.NoSuchVersion {
			break
		}
	}
	return current, err
}

// keep has it leave history alone, or not any more.
func (a *auditor) keep(history bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keeps = history
}

func (a *auditor) lookOnce(ctx context.Context) (map[string]record.State, error) {
	current := map[string]record.State{}
	seen := map[identity]record.State{}
	for info := range a.client.ListObjectsIter(ctx, a.w.bucket, minio.ListObjectsOptions{
		Prefix: prefix, Recursive: true, WithVersions: a.w.versioned,
	}) {
		if info.Err != nil {
			return nil, info.Err
		}
		key := strings.TrimPrefix(info.Key, prefix)
		if info.IsDeleteMarker || strings.HasPrefix(key, contract.Reserved) {
			continue
		}
		id := identity{info.Key, info.VersionID, info.ETag, info.LastModified.UnixNano()}
		state, known := a.seen[id]
		if !known {
			var err error
			if state, err = a.read(ctx, info); err != nil {
				return nil, fmt.Errorf("read %s: %w", info.Key, err)
			}
		}
		seen[id] = state
		if !a.w.versioned || info.IsLatest {
			current[strings.TrimSuffix(key, "/")] = state
		} else if a.keeps {
			continue
		} else if err := a.client.RemoveObject(ctx, a.w.bucket, info.Key, minio.RemoveObjectOptions{VersionID: info.VersionID}); err != nil {
			return nil, err // what was looked at and is history only takes room
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a.seen = seen
	return current, nil
}

// read fetches one object and checks that its path really was so. Without
// versions it may be a later one than was listed, which then is read again.
func (a *auditor) read(ctx context.Context, info minio.ObjectInfo) (record.State, error) {
	opts := minio.GetObjectOptions{VersionID: info.VersionID}
	body, got, _, err := a.client.GetObject(ctx, a.w.bucket, info.Key, opts)
	if err != nil {
		return record.State{}, err
	}
	defer body.Close()
	var h record.Hasher
	if _, err := io.Copy(&h, body); err != nil {
		return record.State{}, err
	}
	sum, size := h.Sum()
	key := strings.TrimPrefix(info.Key, prefix)
	s, err := stateOf(key, got, sum, size)
	if err != nil {
		a.w.fail(err.Error())
		return record.State{}, err
	}
	a.w.count("objects read")
	if text := a.judge(strings.TrimSuffix(key, "/"), s); text != "" {
		if again, _, _, err := a.client.GetObject(ctx, a.w.bucket, info.Key, opts); err == nil {
			content, _ := io.ReadAll(io.LimitReader(again, 64<<20))
			again.Close()
			text += "  it consists of " + record.Explain(bytes.NewReader(content))
		}
		a.w.fail(text)
	}
	return s, nil
}

func (w *world) judge(path string, s record.State) string {
	// With the lock in hand, the step that the object is of has been recorded.
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := w.record.Whole(path, s); v != nil {
		return fmt.Sprintf("an object is not whole: %s\n%s", v, w.record.Story(path))
	}
	return ""
}

// stateOf reads an object's attributes: octal mode with type bits, decimal
// Unix seconds with up to nine decimals.
func stateOf(key string, info minio.ObjectInfo, sum record.Sum, size int64) (record.State, error) {
	meta := map[string]string{}
	for name, value := range info.UserMetadata {
		meta[strings.ToLower(name)] = value
	}
	mode, err := strconv.ParseUint(meta["mode"], 8, 32)
	if err != nil {
		return record.State{}, fmt.Errorf("object %q has the mode %q", key, meta["mode"])
	}
	seconds, nanos, _ := strings.Cut(meta["mtime"], ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || len(nanos) > 9 {
		return record.State{}, fmt.Errorf("object %q has the mtime %q", key, meta["mtime"])
	}
	nsec, _ := strconv.ParseInt(nanos+strings.Repeat("0", 9-len(nanos)), 10, 64)
	s := record.State{Perm: uint32(mode & 0o7777), MTime: sec*int64(time.Second) + nsec, Size: size, Sum: sum}
	if strings.HasPrefix(meta["mtime"], "-") {
		s.MTime = sec*int64(time.Second) - nsec
	}
	switch isDir := strings.HasSuffix(key, "/"); {
	case isDir && mode&0o170000 == 0o040000 && size == 0:
		return record.State{Kind: record.Dir, Perm: s.Perm}, nil
	case !isDir && mode&0o170000 == 0o120000:
		s.Kind, s.Perm = record.Link, 0
		return s, nil
	case !isDir && mode&0o170000 == 0o100000:
		s.Kind = record.File
		return s, nil
	}
	return s, fmt.Errorf("object %q of %d bytes has the mode %o", key, size, mode)
}
