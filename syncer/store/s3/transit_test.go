package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// upFlip flips a bit of the first request that it is meant for.
type upFlip struct {
	part   string // its number; "" where there is none, "completion" at the end of all
	offset func(body []byte) int
	done   atomic.Bool
}

func (u *upFlip) maybe(r *http.Request) {
	q := r.URL.Query()
	switch {
	case u.part == "completion" && r.Method == http.MethodPost && q.Has("uploadId"):
	case u.part != "completion" && r.Method == http.MethodPut && q.Get("partNumber") == u.part:
	default:
		return
	}
	if !u.done.CompareAndSwap(false, true) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	body[u.offset(body)] ^= 1
	r.Body = io.NopCloser(bytes.NewReader(body))
}

func first([]byte) int       { return 0 }
func middle(body []byte) int { return len(body) / 2 }
func last(body []byte) int   { return len(body) - 1 }

// behind is the first byte behind a text.
func behind(text string) func(body []byte) int {
	return func(body []byte) int { return bytes.Index(body, []byte(text)) + len(text) }
}

// Wherever a bit flips on the way to the store, the upload is refused, nothing
// is published, and nothing left behind; and the same once more gets there.
func TestUploadDamagedOnTheWay(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...testenv.Option) *testenv.Server{
		"minio": testenv.MinIO, "versitygw": testenv.Versitygw, "rclone": testenv.RcloneS3,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			bucket := srv.NewBucket(t, false)
			proxy := newFlipper(t, srv)
			cfg := config(srv, bucket)
			cfg.Endpoint = proxy.URL
			s, direct := open(t, cfg), open(t, config(srv, bucket))
			for i, where := range []struct {
				name   string
				size   int64
				part   string
				offset func([]byte) int
			}{
				{"the first bit", 1000, "", first},
				{"the last byte", 1000, "", last},
				{"the middle", single, "", middle},
				{"the first part", 2*part + 17, "1", first},
				{"the second part", 2*part + 17, "2", middle},
				{"the last part", 2*part + 17, "3", last},
				{"the number of a part", 2*part + 17, "completion", behind("<PartNumber>")},
				{"the ETag of a part", 2*part + 17, "completion", behind("<ETag>")},
				{"the checksum of a part", 2*part + 17, "completion", behind("<ChecksumCRC64NVME>")},
				{"the form of the completion", 2*part + 17, "completion", last},
			} {
				before := []int64{-1, 5}[i%2] // bytes; nothing, or something
				what := fmt.Sprintf("%s, %d bytes before", where.name, before)
				u := upload("p/"+what, content(where.size))
				u.Condition = store.Condition{IfAbsent: true}
				var old store.Object
				if before >= 0 {
					old = put(t, direct, u.Key, before)
					u.Condition = store.Condition{IfMatch: old.ETag}
				}
				flip := &upFlip{part: where.part, offset: where.offset}
				proxy.up.Store(flip)
				_, err := s.Upload(t.Context(), u)
				if !flip.done.Load() {
					t.Fatalf("%s: nothing flipped", what)
				}
				if err == nil {
					t.Errorf("%s: the upload succeeded", what)
				}
				if where.part != "completion" && !errors.Is(err, store.ErrDamaged) {
					t.Errorf("%s: %v, want %q", what, err, store.ErrDamaged)
				}
				now, err := direct.Stat(t.Context(), u.Key)
				if before < 0 && !errors.Is(err, store.ErrNotFound) || before >= 0 && (err != nil || now.ETag != old.ETag) {
					t.Errorf("%s: there is %+v now, %v", what, now, err)
				}
				if n := unfinished(t, srv, bucket); n > 0 {
					t.Errorf("%s: %d unfinished uploads are left", what, n)
				}
				o, err := s.Upload(t.Context(), u)
				if err != nil {
					t.Errorf("%s: once more: %v", what, err)
					continue
				}
				wantWhole(t, s, o, where.size)
			}
		})
	}
}
