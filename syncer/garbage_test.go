package syncer

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// TestGarbage: something else answers in the store's place, as if all were well
// and whatever was asked. It is believed in nothing: nothing counts as uploaded,
// nothing as deleted, and no restore is complete. When the store is back, all
// goes on by itself.
func TestGarbage(t *testing.T) {
	server := testenv.MinIO(t)
	for name, text := range map[string]string{
		"a web page": "<!DOCTYPE html><html><body>Please log in</body></html>",
		"noise":      "\x00\xff\x17*\x80",
		"nothing":    "",
		"other XML":  `<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title/></feed>`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			proxy := r.between(t)
			a, b := r.node(t), r.node(t)
			a.attendEvery = 100 * time.Millisecond
			a.start()
			a.fill(20)
			proxy.answers(func(w http.ResponseWriter, request *http.Request) bool {
				_, _ = io.Copy(io.Discard, request.Body)
				_, _ = io.WriteString(w, text)
				return true
			})
			a.remove("d1/1") // before the others, which a deletion waits for
			tried := func(paths int) func() bool {
				return func() bool {
					tried := 0
					for _, p := range a.engine.Status().PendingPaths {
						if p.Reason != "waiting" && p.Reason != "delete remote" {
							tried++
						}
					}
					return tried >= paths && condition(a) != status.OK
				}
			}
			a.await("refused a deletion", tried(1))
			a.write("d0/0", "changed")
			a.write("new", "new")
			a.await("refused an upload", tried(3))
			ctx, cancel := context.WithTimeout(t.Context(), testPatience)
			defer cancel()
			restored := make(chan error, 1)
			e := b.open()
			go func() { restored <- e.Restore(ctx) }()
			b.await("aware that something is wrong", func() bool { return condition(b) != status.OK || len(restored) > 0 })
			if e.Status().Restored {
				t.Errorf("a restore from nothing is complete: %+v", e.Status())
			}
			if s := a.engine.Status(); s.Pending < 3 || s.Message == "" {
				t.Errorf("status: %+v", s)
			}
			a.hasFiles(20)
			a.hasKeys(20)
			if got := string(r.get(t, "app/d0/0")); got != "content of 0" {
				t.Errorf("the changed file is %q in the bucket", got)
			}

			proxy.honest()
			if err := <-restored; err != nil {
				t.Logf("restore: %v", err) // it may have given up
				b.restore()
			}
			a.flush()
			a.await("well again", func() bool { return condition(a) == status.OK })
			a.mustStop()
			a.hasKeys(20)
			a.hasFiles(20)
			a.verify()
			c := r.node(t)
			c.restore()
			c.equals(a)
		})
	}
}
