package syncer

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/internal/testmemory"
)

// TestCrowdedFolder: a hundred thousand keys in one folder are listed, and the
// twenty thousand that are wanted of them restored, twice as many as may wait
// at a time, without all of them being kept in memory.
func TestCrowdedFolder(t *testing.T) {
	const keys, wanted, onePage, perKey = 100_000, 20_000, 1000, 256
	r := newRig(t, testenv.MinIO(t))
	proxy := r.between(t)
	const body = "x"
	var fetched, peak atomic.Int64
	before := testmemory.Live()
	proxy.answers(func(w http.ResponseWriter, request *http.Request) bool {
		switch {
		case listsFiles(request):
			var from int
			if token := request.URL.Query().Get("continuation-token"); token != "" {
				fmt.Sscan(token, &from)
			}
			fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`+
				`<Name>%s</Name><Prefix>app/</Prefix><EncodingType>url</EncodingType><IsTruncated>%v</IsTruncated>`,
				r.bucket, from+onePage < keys)
			if from+onePage < keys {
				fmt.Fprintf(w, "<NextContinuationToken>%d</NextContinuationToken>", from+onePage)
			}
			for i := from; i < from+onePage; i++ {
				fmt.Fprintf(w, `<Contents><Key>app/crowd/%06d</Key><LastModified>2026-02-01T00:00:00.000Z</LastModified>`+
					`<ETag>%s</ETag><Size>%d</Size></Contents>`, i, strings.ReplaceAll(tag(body), `"`, "&#34;"), len(body))
			}
			fmt.Fprint(w, "</ListBucketResult>")
			return true
		case strings.HasPrefix(request.URL.Path, "/"+r.bucket+"/app/crowd/"):
			if fetched.Add(1)%(wanted/8) == 0 {
				peak.Store(max(peak.Load(), testmemory.Live()))
			}
			w.Header().Set("ETag", tag(body))
			w.Header().Set("Last-Modified", "Sun, 01 Feb 2026 00:00:00 GMT")
			_, _ = io.WriteString(w, body)
			return true
		}
		return false
	})
	a := r.node(t)
	a.config.Include = []string{"crowd/0[05]*"}
	a.terse = true
	// On a busy machine it may take longer than other tests wait.
	if err := a.open().Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if grown := peak.Load() - before; grown > keys*perKey {
		t.Errorf("%d bytes of memory for %d keys", grown, keys)
	}
	if got := len(a.listing()); got != wanted+1 { // and the folder
		t.Errorf("%d paths are restored, want %d", got, wanted+1)
	}
}
