package syncer

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// TestDeniedMidway: the store takes part, and then forbids in the middle of
// something. That is a state of its own, nothing is concluded from the half
// that was seen, and with the right given back all comes to its end.
func TestDeniedMidway(t *testing.T) {
	server := testenv.MinIO(t)
	for name, run := range map[string]func(*testing.T, *rig, *between){
		"in an upload in parts":       deniedInUpload,
		"in a listing of a sync":      deniedInListing,
		"in a listing of a restore":   deniedInListingOfRestore,
		"in the downloads of restore": deniedInRestore,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			run(t, r, r.between(t))
		})
	}
}

// denied answers as a store whose policy has changed, where it is to.
func denied(when func(*http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !when(r) {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>`+
			`<Message>Access Denied.</Message></Error>`)
		return true
	}
}

func deniedInUpload(t *testing.T, r *rig, proxy *between) {
	a := r.node(t)
	a.partSize = part
	a.start()
	var parts atomic.Int64
	proxy.answers(denied(func(request *http.Request) bool {
		return request.URL.Query().Has("partNumber") && parts.Add(1) > 2
	}))
	a.write("large", strings.Repeat("in parts", 4<<20))
	a.await("denied", func() bool {
		s := a.engine.Status()
		return s.Condition == status.AccessDenied && s.Pending == 1 && s.PendingPaths[0].Path == "large" &&
			strings.Contains(s.PendingPaths[0].Reason, "access denied")
	})
	a.hasKeys(0)
	proxy.honest()
	a.flush()
	a.await("well again", func() bool { return condition(a) == status.OK })
	a.mustStop()
	a.verify()
	for u := range r.server.Client(t).Client.ListIncompleteUploads(t.Context(), r.bucket, "", true) {
		t.Errorf("an unfinished upload is left: %s %v", u.Key, u.Err)
	}
}

func deniedInListing(t *testing.T, r *rig, proxy *between) {
	a := r.node(t)
	a.start()
	a.fill(20)
	a.mustStop()
	a.remove("d1/1")  // of the first half,
	a.remove("d2/17") // and of the second
	half(proxy, http.StatusForbidden)
	a.startOnly()
	a.await("denied", func() bool { return condition(a) == status.AccessDenied })
	a.listsAgain(proxy, 2)
	if a.engine.isInStep() {
		t.Error("in step without a listing")
	}
	a.hasKeys(20)
	a.hasFiles(18)
	proxy.honest()
	a.await("in step", func() bool { return a.engine.isInStep() })
	a.flush()
	a.hasKeys(18)
	a.hasFiles(18)
	a.mustStop()
}

func deniedInListingOfRestore(t *testing.T, r *rig, proxy *between) {
	a, b := r.node(t), r.node(t)
	a.start()
	a.fill(20)
	a.mustStop()
	half(proxy, http.StatusForbidden)
	if err := b.tryRestore(); !errors.Is(err, store.ErrAccessDenied) || b.engine.Status().Restored {
		t.Errorf("restore: %v, %+v", err, b.engine.Status())
	}
	b.startOnly() // as if somebody did not care
	b.listsAgain(proxy, 2)
	if err := b.stopWithin(time.Second); err == nil {
		t.Error("a sync without a listing ended well")
	}
	b.hasKeys(20)
	proxy.honest()
	b.restore()
	b.equals(a)
}

func deniedInRestore(t *testing.T, r *rig, proxy *between) {
	a, b := r.node(t), r.node(t)
	a.start()
	a.fill(20)
	a.mustStop()
	var downloads atomic.Int64
	refuse := denied(func(request *http.Request) bool {
		return request.Method == http.MethodGet && strings.Contains(request.URL.Path, "/app/d") && downloads.Add(1) > 7
	})
	proxy.answers(refuse)
	b.config.Concurrency = 2
	if err := b.tryRestore(); !errors.Is(err, store.ErrAccessDenied) || b.engine.Status().Restored {
		t.Errorf("restore: %v, %+v", err, b.engine.Status())
	}
	if n := len(b.files()); n < 5 || n > 7 {
		t.Errorf("%d files are restored of the 7 that were handed out", n)
	}
	b.nothingHalf(a)
	b.startOnly() // it brings the rest, when it may
	b.await("denied", func() bool { return condition(b) == status.AccessDenied })
	b.write("d1/new", "written too early")
	b.await("uploaded", func() bool { return slices.Contains(r.keys(t, "app/"), "d1/new") })
	b.hasKeys(21)
	proxy.honest()
	b.await("in step", func() bool { return b.engine.isInStep() })
	b.flush()
	b.hasKeys(21)
	b.hasFiles(21)
	b.mustStop()
	b.verify()
}
