package syncer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// unsure does not say at first whether it honours conditions.
type unsure struct {
	store.Store
	n        *node
	asked    atomic.Int64
	answered atomic.Bool
}

func (s *unsure) ConditionalWrites(context.Context, string) (bool, error) {
	switch s.asked.Add(1) {
	case 1:
		s.n.write("g", "heard of meanwhile")
		time.Sleep(300 * time.Millisecond)
		fallthrough
	case 2:
		return false, fmt.Errorf("probe: %w", store.ErrUnreachable)
	}
	s.answered.Store(true)
	return false, nil
}

func (s *unsure) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if !s.answered.Load() && !strings.Contains(u.Key, contract.Reserved) {
		s.n.t.Errorf("%s is uploaded before it is known what keeps others from being overwritten", u.Key)
	}
	return s.Store.Upload(ctx, u)
}

func TestConditionsAreKnownFirst(t *testing.T) {
	n := newRig(t, testenv.MinIO(t)).node(t)
	n.wrap = func(real store.Store) store.Store { return &unsure{Store: real, n: n} }
	n.write("f", "x")
	n.start()
	n.flush()
	if n.engine.mu.Lock(); !n.engine.lookFirst {
		t.Error("the answer of a store that did not answer at first is not taken")
	}
	n.engine.mu.Unlock()
	n.mustStop()
}

// blind ignores conditions, and does not say so.
type blind struct{ store.Store }

func (s blind) ConditionalWrites(context.Context, string) (bool, error) {
	return false, fmt.Errorf("probe: %w", store.ErrUnreachable)
}

func (s blind) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	u.Condition = store.Condition{}
	return s.Store.Upload(ctx, u)
}

// TestUnsureOfConditions: as long as it is not known whether the store honours
// conditions, nothing is overwritten on the assumption that it does.
func TestUnsureOfConditions(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	n := r.node(t)
	n.wrap = func(real store.Store) store.Store { return blind{real} }
	n.start()
	n.write("contested.txt", "original")
	n.flush()
	_, err := r.server.Client(t).PutObject(t.Context(), r.bucket, contested,
		strings.NewReader(theirs), int64(len(theirs)), "", "", putOptions())
	n.do(err)
	n.write("contested.txt", ours)
	n.flush()
	n.mustStop()
	if got := r.states(t); !slices.Equal(got, []string{theirs, ours}) {
		t.Errorf("the bucket has %q", got)
	}
}
