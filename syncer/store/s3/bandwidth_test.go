package s3_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// TestBandwidthLimit: however objects travel, with whatever number of them at a
// time, they do not travel faster than they may. (That they travel as fast as
// they may is for TestThrottle to say, whose clock is exact.) The patience with
// silent connections is far less than what each transfer takes.
func TestBandwidthLimit(t *testing.T) {
	srv := testenv.MinIO(t)
	bucket := srv.NewBucket(t, false)
	const second = 64 // of these, a limit lets one part pass at once
	for _, c := range []struct {
		name    string
		limit   int64
		objects int
		size    int64
	}{
		{"small", 1 << 20, 10, 100 << 10},
		{"single", 8 << 20, 1, single},
		{"parts", 10 << 20, 1, 2*part + 1},
		{"ranges", 48 << 20, 1, 40 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(srv, bucket)
			cfg.BandwidthLimit, cfg.StallTimeout = c.limit, impatient
			s := open(t, cfg)
			total := c.size * int64(c.objects)
			atLeast := time.Duration(float64(total-c.limit/second) / float64(c.limit) * float64(time.Second))
			for _, way := range []struct {
				name string
				move func(key string)
			}{
				{"up", func(key string) {
					if err := try(s, key, c.size); err != nil {
						t.Error(err)
					}
				}},
				{"down", func(key string) {
					o, err := s.Stat(t.Context(), key)
					if err != nil {
						t.Error(err)
						return
					}
					wantWhole(t, s, o, c.size)
				}},
			} {
				began := time.Now()
				var all sync.WaitGroup
				for i := range c.objects {
					all.Go(func() { way.move(fmt.Sprintf("%s/%d", c.name, i)) })
				}
				all.Wait()
				if took := time.Since(began); took < atLeast {
					t.Errorf("%s: %d bytes at %d per second took %s, less than %s", way.name, total, c.limit, took, atLeast)
				}
			}
		})
	}
}

// TestBandwidthLimitEnds: whoever gives up does not wait for a turn.
func TestBandwidthLimitEnds(t *testing.T) {
	srv := testenv.MinIO(t)
	bucket := srv.NewBucket(t, false)
	large := put(t, open(t, config(srv, bucket)), "p/large", single)
	cfg := config(srv, bucket)
	cfg.BandwidthLimit = 16 // half a million seconds
	s := open(t, cfg)
	ctx, giveUp := context.WithCancelCause(t.Context())
	bored := errors.New("bored")
	var all sync.WaitGroup
	for name, f := range map[string]func() error{
		"upload": func() error {
			body := strings.NewReader(strings.Repeat("x", 1<<20))
			return second(s.Upload(ctx, store.Upload{Key: "p/new", Body: body, Size: body.Size()}))
		},
		"download": func() error { return second(s.Download(ctx, large.Key, "", large.Size, discard{})) },
	} {
		all.Go(func() {
			if err := f(); !errors.Is(err, bored) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	giveUp(bored)
	all.Wait()
}

type discard struct{}

func (discard) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
