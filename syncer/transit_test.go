package syncer

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// TestUploadDamagedOnTheWay: a bit flips on the way to the store, in each kind
// of request that brings content there. The store refuses it, and it is sent
// again; no version of the object was ever anything but a state of the file.
func TestUploadDamagedOnTheWay(t *testing.T) {
	server := testenv.MinIO(t)
	const large = 12 << 20
	isPart := func(number string) func(*http.Request) bool {
		return func(r *http.Request) bool {
			return r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == number
		}
	}
	for name, c := range map[string]struct {
		size   int
		flips  func(*http.Request) bool
		offset func(body []byte) int
	}{
		"single":     {1000, isPart(""), func(b []byte) int { return len(b) / 2 }},
		"part":       {large, isPart("2"), func(b []byte) int { return len(b) - 1 }},
		"completion": {large, func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }, func(b []byte) int { return bytes.Index(b, []byte("<ETag>")) + 8 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			r.bucket = server.NewBucket(t, true)
			proxy := r.between(t)
			a := r.node(t)
			a.partSize = 5 << 20
			a.start()

			var mu sync.Mutex
			flipped, refused := 0, 0
			arm := func() {
				left := 1
				proxy.answers(func(_ http.ResponseWriter, request *http.Request) bool {
					mu.Lock()
					defer mu.Unlock()
					if !strings.HasSuffix(request.URL.Path, "/app/f") || !c.flips(request) || left == 0 {
						return false
					}
					body, err := io.ReadAll(request.Body)
					if err != nil {
						panic(http.ErrAbortHandler)
					}
					left--
					flipped++
					body[c.offset(body)] ^= 1
					request.Body = io.NopCloser(bytes.NewReader(body))
					return false
				})
			}
			proxy.spoils(func(response *http.Response) error {
				mu.Lock()
				defer mu.Unlock()
				if c.flips(response.Request) && response.StatusCode >= 400 {
					refused++
				}
				return nil
			})
			var want []string // versions, newest first
			for i := range 2 {
				content := strings.Repeat(fmt.Sprintf("state %05d, ", i), c.size/13)
				arm()
				a.write("f", content)
				a.flush()
				want = append([]string{content}, want...)
			}
			if flipped != 2 || refused < 2 {
				t.Errorf("%d bits flipped, %d requests were refused", flipped, refused)
			}
			if n := a.logged.count("path failed; will try again"); n == 0 {
				t.Error("nobody was told")
			}
			a.mustStop()
			a.verify()
			var found []string
			client := server.Client(t)
			for o := range client.ListObjectsIter(t.Context(), r.bucket, minio.ListObjectsOptions{Prefix: "app/f", WithVersions: true}) {
				a.do(o.Err)
				body, _, _, err := client.GetObject(t.Context(), r.bucket, o.Key, minio.GetObjectOptions{VersionID: o.VersionID})
				a.do(err)
				content, err := io.ReadAll(body)
				a.do(err)
				found = append(found, string(content))
			}
			if !cmp.Equal(want, found) {
				t.Errorf("%d versions, which are not the %d states of the file", len(found), len(want))
			}
			for u := range client.ListIncompleteUploads(t.Context(), r.bucket, "", true) {
				t.Errorf("an unfinished upload is left: %+v", u)
			}
		})
	}
}

// TestDownloadDamagedOnTheWay: a running sync that gets a damaged answer asks
// again, and the app never sees it.
func TestDownloadDamagedOnTheWay(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	a := r.node(t)
	a.partSize = 5 << 20
	a.start()
	proxy := r.between(t)
	b := r.node(t)
	b.attendEvery = 100 * time.Millisecond
	b.start()
	var mu sync.Mutex
	flips := map[string]int{}
	proxy.spoils(func(response *http.Response) error {
		mu.Lock()
		defer mu.Unlock()
		path := response.Request.URL.Path
		if response.Request.Method != http.MethodGet || !strings.Contains(path, "/app/from a/") || flips[path] == 2 {
			return nil
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		flips[path]++
		body[len(body)/2] ^= 1
		response.Body = io.NopCloser(bytes.NewReader(body))
		return nil
	})
	files := map[string]string{}
	for name, size := range map[string]int{"small": 100, "single": 1 << 20, "parts": 12 << 20} {
		files["from a/"+name] = strings.Repeat(name+", ", size/len(name+", "))
	}
	for name, content := range files {
		a.write(name, content)
	}
	a.flush()
	b.await("brought all", func() bool {
		all := true
		for name, content := range files {
			got, err := os.ReadFile(b.path(name))
			if err == nil && string(got) != content {
				t.Fatalf("%s: a damaged file was handed out", name)
			}
			all = all && err == nil
		}
		return all
	})
	mu.Lock()
	for name := range files {
		if n := flips["/"+r.bucket+"/app/"+name]; n != 2 {
			t.Errorf("%s: %d answers were damaged", name, n)
		}
	}
	mu.Unlock()
	b.mustStop()
	a.mustStop()
	b.verify()
}
