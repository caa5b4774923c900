package interop

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// A bit flips on the way from the store, once or for ever. Once costs another
// request; for ever ends the restore with the code for damage and the name. The
// object itself is well, and is restored as soon as the way is.
func TestDamagedOnTheWay(t *testing.T) {
	server := testenv.MinIO(t)
	for name, size := range map[string]int{"small": 1000, "single": 8 << 20, "large": 40 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, server)
			from := l.node()
			from.write("deep/"+name, strings.Repeat("0123456789abcdef", size/16))
			from.start()
			from.stop()
			want := from.describe()

			way := newBetween(t, server)
			var times, flips atomic.Int64 // how often it is to flip, and has
			way.answers(func(r *http.Response) {
				if r.Request.Method == http.MethodGet && strings.HasSuffix(r.Request.URL.Path, "/deep/"+name) && flips.Load() < times.Load() {
					flips.Add(1)
					r.Body = &flipped{r.Body, r.ContentLength / 2}
				}
			})
			for _, tt := range []struct {
				name    string
				times   int64
				damaged bool
			}{
				{"once", 1, false},
				{"for ever", 1 << 30, true},
				{"not any more", 0, false},
			} {
				flips.Store(0)
				times.Store(tt.times)
				to := l.node()
				to.endpoint = way.URL
				if tt.damaged {
					to.wantDamaged("deep/" + name)
					if n := flips.Load(); n < 2 {
						t.Errorf("%s: it was asked for %d times before it was given up", tt.name, n)
					}
					continue
				}
				to.restore()
				to.wantVolume(want)
				if n := flips.Load(); n != tt.times {
					t.Errorf("%s: %d bits flipped", tt.name, n)
				}
			}
		})
	}
}
