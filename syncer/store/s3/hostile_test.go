package s3_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testmemory"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/store/s3"
)

// hostile is a store over a server that no real one would be.
func hostile(t *testing.T, answer http.HandlerFunc) *s3.Store {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	return open(t, s3.Config{Endpoint: srv.URL, Bucket: "bucket", AccessKey: "a", SecretKey: "s", PartSize: part})
}

func page(truncated bool, token string, keys ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>bucket</Name><IsTruncated>%v</IsTruncated>`, truncated)
	fmt.Fprintf(&b, `<EncodingType>url</EncodingType><NextContinuationToken>%s</NextContinuationToken>`, token)
	for _, key := range keys {
		fmt.Fprintf(&b, `<Contents><Key>%s</Key><Size>1</Size><ETag>"e"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>`, key)
	}
	return b.String() + `</ListBucketResult>`
}

// A listing that is not complete and in order must never look as if it were:
// what it lacks would be taken for deleted.
func TestHostileListings(t *testing.T) {
	say := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
	}
	whole := page(false, "", "p/a", "p/b")
	for name, answer := range map[string]http.HandlerFunc{
		"empty body":                say(""),
		"garbage":                   say("\x00\x01\x02 garbage"),
		"HTML of a proxy":           say("<!DOCTYPE html><html><body>Please log in<br></body></html>"),
		"well-formed XHTML":         say(`<?xml version="1.0"?><html><body>Please log in</body></html>`),
		"an error with status 200":  say(`<?xml version="1.0"?><Error><Code>InternalError</Code></Error>`),
		"JSON":                      say(`{"objects":[]}`),
		"cut off":                   say(whole[:len(whole)-30]),
		"cut off before the end":    say(strings.TrimSuffix(whole, "</ListBucketResult>")),
		"truncated without a token": say(page(true, "", "p/a")),
		"the same page for ever":    say(page(true, "more", "p/a", "p/b")),
		"out of order":              say(page(false, "", "p/b", "p/a")),
		"twice the same":            say(page(false, "", "p/a", "p/a")),
		"not below the prefix":      say(page(false, "", "p/a", "q/a")),
		"a bad escape":              say(page(false, "", "p/%zz")),
		"a negative size":           say(strings.Replace(whole, "<Size>1<", "<Size>-1<", 1)),
		"a size that is no number":  say(strings.Replace(whole, "<Size>1<", "<Size>many<", 1)),
		"204":                       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"redirect to nowhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"XHTML as the second page": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("continuation-token") == "" {
				fmt.Fprint(w, page(true, "more", "p/a"))
			} else {
				fmt.Fprint(w, `<html><body>Please log in</body></html>`)
			}
		},
		"breaks off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
			fmt.Fprint(w, whole[:100])
		},
		"404 without a body": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"503 with HTML": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "<html>busy</html>")
		},
	} {
		err := listing(hostile(t, answer))
		if err == nil {
			t.Errorf("%s: passed for a listing", name)
		} else if errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := listing(hostile(t, say(whole))); err != nil {
		t.Errorf("an honest listing: %v", err)
	}
}

// A 404 of something in between is not a store's word that an object is gone.
func TestHostileNotFound(t *testing.T) {
	s := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "default backend - 404")
	})
	_, statErr := s.Stat(t.Context(), "p/a")
	for name, err := range map[string]error{
		"Stat": statErr, "List": listing(s), "CheckBucket": s.CheckBucket(t.Context()),
		"Delete": s.Delete(t.Context(), "p/a", "e"), "Download": second(get(s, store.Object{Key: "p/a", Size: 1})),
	} {
		if !errors.Is(err, store.ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No lie about a size or a range makes the download end well.
func TestHostileDownloads(t *testing.T) {
	const large = 40 << 20
	object := func(size int, body []byte, header map[string]string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
			w.Header().Set("Content-Length", strconv.Itoa(size))
			for name, value := range header {
				if value == "" {
					w.Header().Del(name)
				} else {
					w.Header().Set(name, value)
				}
			}
			_, _ = w.Write(body)
		}
	}
	b := content(large)
	for name, test := range map[string]struct {
		size   int64
		answer http.HandlerFunc
		want   error // nil: any
	}{
		"more than announced":       {100, object(100, b[:200], nil), nil},
		"less than announced":       {100, object(100, b[:50], nil), nil},
		"another size":              {100, object(200, b[:200], nil), store.ErrPrecondition},
		"another ETag":              {100, object(100, b[:100], map[string]string{"ETag": `"f"`}), store.ErrPrecondition},
		"no ETag":                   {100, object(100, b[:100], map[string]string{"ETag": ""}), nil},
		"no size":                   {100, object(100, b[:100], map[string]string{"Content-Length": "", "Transfer-Encoding": "chunked"}), nil},
		"no date":                   {100, object(100, b[:100], map[string]string{"Last-Modified": "soon"}), nil},
		"another checksum":          {100, object(100, b[:100], map[string]string{"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="}), store.ErrDamaged},
		"large: ranges ignored":     {large, object(large, b, nil), nil},
		"large: another size":       {large, object(large+1, nil, nil), store.ErrPrecondition},
		"large: ends after HEAD":    {large, object(large, nil, nil), nil},
		"large: a part too long":    {large, object(large, nil, map[string]string{"ETag": `"e-1"`, "x-amz-checksum-crc32": "AAAAAA==-1"}), nil},
		"large: absurd part number": {large, object(large, nil, map[string]string{"ETag": `"e-99999999999999"`}), nil},
	} {
		m := &memory{b: make([]byte, test.size)}
		o, err := hostile(t, test.answer).Download(t.Context(), "p/a", "e", test.size, m)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: Download = %+v, %v; want %v", name, o, err, test.want)
		}
	}
	m := &memory{b: make([]byte, 100)}
	if _, err := hostile(t, object(100, b[:100], nil)).Download(t.Context(), "p/a", "e", 100, m); err != nil {
		t.Errorf("an honest object: %v", err)
	}
}

func TestHostileUploads(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"no ETag": func(http.ResponseWriter, *http.Request) {},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		},
		"closes at once": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		s := hostile(t, answer)
		for _, size := range []int64{0, 100, 3 * part} {
			if err := try(s, "p/a", size); err == nil {
				t.Errorf("%s: an upload of %d bytes ended well", name, size)
			}
		}
	}
}

// What never ends is given up before it has filled the memory. It is the
// length that is at fault, not the time: everything here arrives fast.
func TestHostileEndless(t *testing.T) {
	const (
		most   = 64 << 20 // what the server sends if nobody stops it
		bound  = 32 << 20 // a page of a listing, and what is on its way
		memory = 128 << 20
	)
	type call = func(*s3.Store) error
	list := func(s *s3.Store) error { return listing(s) }
	for name, test := range map[string]struct {
		status      int
		head, again string
		call        call
	}{
		"a name in a listing":   {200, `<ListBucketResult><Name>`, strings.Repeat("x", 1<<10), list},
		"entries of a listing":  {200, `<ListBucketResult>`, `<Contents/>`, list},
		"… of a name space":     {200, `<ListBucketResult>`, `<x:Contents />`, list},
		"common prefixes":       {200, `<ListBucketResult>`, `<CommonPrefixes></CommonPrefixes>`, list},
		"metadata of an entry":  {200, `<ListBucketResult><Contents><UserMetadata>`, `<a>b</a>`, list},
		"open elements":         {200, `<ListBucketResult>`, `<a>`, list},
		"blanks":                {200, `<ListBucketResult>`, "                ", list},
		"an error":              {500, `<Error><Message>`, strings.Repeat("x", 1<<10), list},
		"a missing object":      {404, `<Error><Message>`, strings.Repeat("x", 1<<10), func(s *s3.Store) error { return second(get(s, store.Object{Key: "p/a", Size: 1})) }},
		"answer to a deletion":  {400, `<Error><Message>`, strings.Repeat("x", 1<<10), func(s *s3.Store) error { return s.Delete(t.Context(), "p/a", "") }},
		"answer to a write":     {200, ``, strings.Repeat("x", 1<<10), func(s *s3.Store) error { return try(s, "p/a", 1) }},
		"beginning of an mpart": {200, `<InitiateMultipartUploadResult><UploadId>`, strings.Repeat("x", 1<<10), func(s *s3.Store) error { return try(s, "p/a", 2*part) }},
		"unfinished uploads": {200, `<ListMultipartUploadsResult>`, `<Upload/>`, func(s *s3.Store) error {
			return second(s.AbortUploads(t.Context(), "p/", 0))
		}},
	} {
		var sent, peak atomic.Int64
		before := testmemory.Live()
		s := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.WriteHeader(test.status)
			fmt.Fprint(w, test.head)
			chunk := []byte(strings.Repeat(test.again, 4<<20/len(test.again)))
			for n := int64(0); n < most; {
				done, err := w.Write(chunk)
				n += int64(done)
				sent.Store(max(sent.Load(), n))
				peak.Store(max(peak.Load(), testmemory.Live()-before))
				if err != nil {
					return
				}
			}
		})
		err := test.call(s)
		if err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		} else if len(err.Error()) > 1<<10 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
		if n := sent.Load(); n > bound {
			t.Errorf("%s: %d MiB were read", name, n>>20)
		}
		if n := peak.Load(); n > memory {
			t.Errorf("%s: %d MiB of memory", name, n>>20)
		}
	}
}

// How old an upload is, the store's clock says and not this machine's.
func TestAbortByStoresClock(t *testing.T) {
	for name, test := range map[string]struct {
		date string
		want int // -1: an error
	}{
		"an hour later": {"Wed, 01 Jan 2020 01:00:00 GMT", 0},
		"a day later":   {"Thu, 02 Jan 2020 00:00:00 GMT", 1},
		"no clock":      {"", -1},
	} {
		aborted := 0
		s := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = nil
			if test.date != "" {
				w.Header().Set("Date", test.date)
			}
			if r.Method == http.MethodDelete {
				aborted = 1
				w.WriteHeader(http.StatusNoContent)
				return
			}
			fmt.Fprint(w, `<ListMultipartUploadsResult><Upload><Key>p/a</Key><UploadId>id</UploadId>`+
				`<Initiated>2020-01-01T00:00:00.000Z</Initiated></Upload></ListMultipartUploadsResult>`)
		})
		n, err := s.AbortUploads(t.Context(), "p/", 24*time.Hour)
		if test.want < 0 && err == nil || test.want >= 0 && (err != nil || n != test.want) || aborted != max(test.want, 0) {
			t.Errorf("%s: AbortUploads = %d, %v; aborted %d, want %d", name, n, err, aborted, test.want)
		}
	}
}

// Sizes that no object has make for no allocation and no panic.
func TestHostileSizes(t *testing.T) {
	for _, size := range []int64{1<<50 + 1, 1 << 60, 1 << 62, 1<<63 - 1} {
		text := strconv.FormatInt(size, 10)
		err := listing(hostile(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.Replace(page(false, "", "p/a"), "<Size>1<", "<Size>"+text+"<", 1))
		}))
		if err == nil {
			t.Errorf("%d bytes: passed in a listing", size)
		}
		s := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
			w.Header().Set("Content-Length", text)
		})
		if o, err := s.Stat(t.Context(), "p/a"); err == nil {
			t.Errorf("%d bytes: Stat = %+v", size, o)
		}
		if o, err := s.Download(t.Context(), "p/a", "e", size, &memory{}); err == nil {
			t.Errorf("%d bytes: Download = %+v", size, o)
		}
	}
	// A size that could be, in more parts than there can be.
	const size = 1 << 50
	s := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e-1125899906842624"`)
		w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		if r.URL.Query().Has("partNumber") {
			w.Header().Set("Content-Length", "1")
		}
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	if o, err := s.Download(t.Context(), "p/a", "", size, &memory{}); err == nil {
		t.Errorf("2^50 parts: Download = %+v", o)
	}
}
