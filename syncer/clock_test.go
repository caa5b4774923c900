package syncer

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// TestClocksDiffer: a store refuses requests that say another time than its own
// clock. That is no matter of the credentials, and is not called one; nothing is
// lost, and when the clock is set all goes on unasked. Here the requests are made
// to say another time on their way; the real server looks at that before it looks
// at the signature.
func TestClocksDiffer(t *testing.T) {
	server := testenv.MinIO(t)
	for name, off := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour, "ahead by years": 5 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			proxy := r.between(t)
			n := r.node(t)
			n.start()
			n.write("before.txt", "before")
			n.flush()
			proxy.answers(func(_ http.ResponseWriter, request *http.Request) bool {
				request.Header.Set("X-Amz-Date", time.Now().Add(off).UTC().Format("20060102T150405Z"))
				return false
			})
			n.write("after.txt", "after")
			n.await("told that the clocks differ", func() bool {
				s := n.engine.Status()
				return s.Condition == status.ClocksDiffer && s.Pending == 1 && strings.Contains(s.Message, "clocks")
			})
			fresh := r.node(t)
			err := fresh.tryRestore()
			if !errors.Is(err, store.ErrClock) || !errors.Is(err, store.ErrAccessDenied) || fresh.engine.Status().Restored {
				t.Errorf("a restore: %v", err)
			}
			proxy.honest()
			n.await("well again", func() bool { return condition(n) == status.OK && n.engine.Status().Pending == 0 })
			n.mustStop()
			fresh.restore()
			fresh.equals(n)
		})
	}
}

// TestFilesOfWrongClocks: a node whose clock is wrong by any amount stamps its
// files with that. Which of two edits of one file keeps the name depends on it;
// nothing else does. Above all, an edit that looks older than what it was made
// of is an edit like others.
func TestFilesOfWrongClocks(t *testing.T) {
	server := testenv.MinIO(t)
	for name, off := range map[string]time.Duration{
		"hours ahead": 5 * time.Hour, "hours behind": -5 * time.Hour,
		"a century ahead": 100 * 365 * 24 * time.Hour, "a century behind": -100 * 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			right, wrong := r.node(t), r.node(t)
			for _, n := range []*node{right, wrong} {
				n.attendEvery = 100 * time.Millisecond
			}
			outside := filepath.Join(t.TempDir(), "stamped")
			stamped := func(path, content string) {
				now := time.Now().Add(off)
				wrong.do(os.WriteFile(outside, []byte(content), 0o644))
				wrong.do(os.Chtimes(outside, now, now))
				wrong.do(os.Rename(outside, wrong.path(path)))
			}
			right.start()
			right.write("contested.txt", "original")
			right.flush()
			wrong.start()
			wrong.mustStop()
			right.write("contested.txt", theirs)
			right.flush()
			stamped("contested.txt", ours) // while it was away
			wrong.start()
			wrong.flush()
			winner, loser := theirs, ours
			if off > 0 {
				winner, loser = loser, winner
			}
			settled := func(n *node, path, content string) {
				n.await("holding "+content, func() bool {
					got, err := os.ReadFile(n.path(path))
					return err == nil && string(got) == content
				})
			}
			settled(right, "contested.txt", winner)
			settled(wrong, "contested.txt", winner)
			for i := range 3 {
				content := fmt.Sprintf("edit %d by the wrong clock", i)
				stamped("contested.txt", content)
				wrong.flush()
				settled(right, "contested.txt", content)
				content = fmt.Sprintf("edit %d by the right clock", i)
				right.write("contested.txt", content)
				right.flush()
				settled(wrong, "contested.txt", content)
			}
			stamped("short-lived.txt", "to be deleted")
			wrong.flush()
			settled(right, "short-lived.txt", "to be deleted")
			right.remove("short-lived.txt")
			right.flush()
			wrong.await("followed", func() bool {
				_, err := os.Lstat(wrong.path("short-lived.txt"))
				return os.IsNotExist(err)
			})
			right.mustStop()
			wrong.mustStop()
			want := []string{"edit 2 by the right clock", loser}
			slices.Sort(want)
			if got := r.states(t); !slices.Equal(got, want) {
				t.Errorf("the bucket has %q, want %q", got, want)
			}
			right.equals(wrong)
		})
	}
}
