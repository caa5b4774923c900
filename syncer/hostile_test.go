package syncer

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// invented are objects that no well-behaved store would have: a proxy in front
// of a real one lists them beside the real ones, and serves them.
type invented struct {
	bodies map[string]string // by the whole key
	listed map[string]int    // sizes that the listing tells, where they are lies
	seen   atomic.Int64      // requests for one of them
}

type listed struct {
	XMLName     xml.Name      `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name        string        `xml:"Name"`
	Prefix      string        `xml:"Prefix"`
	MaxKeys     int           `xml:"MaxKeys"`
	IsTruncated bool          `xml:"IsTruncated"`
	Encoding    string        `xml:"EncodingType,omitempty"`
	Contents    []listedEntry `xml:"Contents"`
}

type listedEntry struct {
	Key          string `xml:"Key"`
	LastModified string `xml:"LastModified"`
	ETag         string `xml:"ETag"`
	Size         int    `xml:"Size"`
}

func tag(body string) string {
	sum := md5.Sum([]byte(body))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// haunt has b tell of what is invented.
func (b *between) haunt(bucket string, v *invented) {
	b.answers(func(w http.ResponseWriter, r *http.Request) bool {
		body, ok := v.bodies[strings.TrimPrefix(r.URL.Path, "/"+bucket+"/")]
		if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
			return false
		}
		v.seen.Add(1)
		w.Header().Set("ETag", tag(body))
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Header().Set("Last-Modified", "Sun, 01 Feb 2026 00:00:00 GMT")
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, body)
		}
		return true
	})
	b.spoils(func(r *http.Response) error {
		if !listsFiles(r.Request) || r.StatusCode != http.StatusOK {
			return nil
		}
		var page listed
		plain, err := io.ReadAll(r.Body)
		if err == nil {
			err = xml.Unmarshal(plain, &page)
		}
		if err != nil {
			return err
		}
		if r.Body = io.NopCloser(bytes.NewReader(plain)); page.IsTruncated || page.MaxKeys < 1000 {
			return nil // a look whether there is anything at all
		}
		for key, body := range v.bodies {
			size, lies := v.listed[key]
			if !lies {
				size = len(body)
			}
			page.Contents = append(page.Contents, listedEntry{url.QueryEscape(key), "2026-02-01T00:00:00.000Z", tag(body), size})
		}
		slices.SortFunc(page.Contents, func(a, b listedEntry) int {
			x, _ := url.QueryUnescape(a.Key)
			y, _ := url.QueryUnescape(b.Key)
			return strings.Compare(x, y)
		})
		text, err := xml.Marshal(page)
		r.Body = io.NopCloser(bytes.NewReader(text))
		r.ContentLength = int64(len(text))
		r.Header.Set("Content-Length", fmt.Sprint(len(text)))
		return err
	})
}

// TestHostileKeys: whatever keys a bucket has, nothing outside the volume is
// touched, not when they come and not when they go; each that cannot be a path
// is reported by its name, and what is beside it is restored.
func TestHostileKeys(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	proxy := r.between(t)
	a := r.node(t)
	canary := filepath.Join(filepath.Dir(a.dir), "canary")
	a.do(os.Mkdir(canary, 0o750))
	a.do(os.WriteFile(filepath.Join(canary, "sings"), []byte("alive"), 0o600))
	outside := func() (list []string) {
		a.do(filepath.WalkDir(canary, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			list = append(list, fmt.Sprint(p, info.Mode(), info.ModTime().UnixNano(), info.Size()))
			return err
		}))
		beside, err := os.ReadDir(filepath.Dir(a.dir))
		a.do(err)
		for _, d := range beside {
			list = append(list, d.Name())
		}
		return list
	}

	// The links, which lead outside, are real objects.
	first := r.node(t)
	first.start()
	first.write("good", "good")
	first.do(os.Symlink("../"+filepath.Base(canary), first.path("evil")))
	first.do(os.Symlink(canary, first.path("worse")))
	first.mustStop()

	long := strings.Repeat("n", 256)
	v := &invented{bodies: map[string]string{}}
	reported := []string{
		"../canary/sings", "a/../../canary/sings", "..", "a/..", "./x", "a/./b", "//x", "a//b", "/abs",
		canary + "/sings", "nul\x00byte", "a/" + long, long + "/b",
	}
	reserved := []string{".minio-sidecar/evil", ".minio-sidecar/state/x"} // ours, whoever put it there
	const slashes = `back\..\..\slash`                                    // an ordinary name
	for _, key := range slices.Concat(reported, reserved, []string{slashes}) {
		v.bodies["app/"+key] = "evil: " + key
	}
	proxy.haunt(r.bucket, v)
	before := outside()

	a.restore()
	a.wantReported(reported)
	check := func(when string) {
		t.Helper()
		if diff := cmp.Diff(before, outside()); diff != "" {
			t.Fatalf("%s something outside the volume is not as it was (-want +got):\n%s", when, diff)
		}
		for path := range a.listing() {
			switch top, _, _ := strings.Cut(path, "/"); top {
			case "good", "evil", "worse", slashes, "own":
			default:
				t.Errorf("%s the volume has %q", when, path)
			}
		}
		for _, key := range slices.Concat(reported, reserved) {
			if _, err := os.Lstat(a.dir + "/" + key); err == nil && !strings.Contains(key, "..") {
				t.Errorf("%s there is something at %q", when, key)
			}
		}
	}
	check("after the restore")
	a.attendEvery = 20 * time.Millisecond
	a.start()
	a.write("own", "1")
	a.flush()
	a.wantReported(reported)
	check("with a sync")
	if v.seen.Load() == 0 {
		t.Error("nothing of what was invented was asked for")
	}
	if err := a.stop(); err != nil {
		t.Logf("stop: %v", err)
	}
	proxy.honest()
	a.start() // which lists
	check("when they are gone")
	a.await("well", func() bool { return condition(a) == status.OK })
	a.flush()
	a.wantReported([]string{slashes}) // MinIO does not say whether it has it
	a.remove(slashes)
	a.flush()
	a.wantReported(nil)
	a.mustStop()
	check("at the end")
	if diff := cmp.Diff(map[string]string{"good": "good", "own": "1"}, map[string]string{
		"good": string(r.get(t, "app/good")), "own": string(r.get(t, "app/own")),
	}); diff != "" {
		t.Errorf("in the bucket (- wanted, + found):\n%s", diff)
	}
	if got, err := os.ReadFile(a.path("good")); string(got) != "good" {
		t.Errorf("the good file is %q, %v", got, err)
	}
}

// TestListedSizesLie: what a listing says of a size is not believed, and
// nothing of another size comes to be at the path.
func TestListedSizesLie(t *testing.T) {
	server := testenv.MinIO(t)
	for name, size := range map[string]int{"too small": 3, "too large": 300, "none": 0, "a whole disk": 1 << 50} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, server)
			first := r.node(t)
			first.start()
			first.write("good", "good")
			first.mustStop()
			proxy := r.between(t)
			const body = "forty bytes, more or less, of an object.."
			v := &invented{bodies: map[string]string{"app/liar": body}, listed: map[string]int{"app/liar": size}}
			proxy.haunt(r.bucket, v)
			a := r.node(t)
			a.config.RestoreTimeout = 2 * time.Second
			err := a.tryRestore()
			got, readErr := os.ReadFile(a.path("liar"))
			switch {
			case readErr == nil && string(got) != body:
				t.Errorf("%q is at the path", got)
			case readErr != nil && err == nil:
				t.Error("the file is not there, and the restore has succeeded")
			}
			t.Log(err)
			// When the listing tells the truth, it comes.
			v.listed = nil
			a.restore()
			if got, err := os.ReadFile(a.path("liar")); string(got) != body {
				t.Errorf("in the end %q is at the path: %v", got, err)
			}
		})
	}
}

// TestConditionsIgnored: in front of a store that writes and deletes whatever it
// is told to (of deletions MinIO always does), the engine looks before it does:
// what another has put there meanwhile is neither overwritten, be it at once or
// in parts, nor deleted.
func TestConditionsIgnored(t *testing.T) {
	r := newRig(t, testenv.MinIO(t))
	proxy := r.between(t)
	server := r.server
	to, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var parts atomic.Int64 // completions of uploads in parts
	proxy.answers(func(w http.ResponseWriter, request *http.Request) bool {
		if request.Method == http.MethodPost && request.URL.Query().Has("uploadId") {
			parts.Add(1)
		}
		if request.Method != http.MethodPut && request.Method != http.MethodPost ||
			request.Header.Get("If-Match")+request.Header.Get("If-None-Match") == "" {
			return false
		}
		out := request.Clone(request.Context())
		out.RequestURI, out.URL.Scheme, out.URL.Host = "", to.Scheme, to.Host
		for _, name := range []string{"If-Match", "If-None-Match", "Authorization"} {
			out.Header.Del(name)
		}
		out = signer.SignV4(*out, server.AccessKey, server.SecretKey, "", testenv.Region)
		response, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer response.Body.Close()
		for name, values := range response.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, response.Body)
		return true
	})
	a := r.node(t)
	a.start()
	if !a.engine.lookFirst {
		t.Fatal("the engine believes that the store honours conditions")
	}
	a.write("f", "of this node")
	a.write("large", largeOf("of this node"))
	a.write("gone", "of this node")
	a.write("kept", "of this node")
	a.flush()
	client := server.Client(t)
	foreign := func(key, body string) {
		_, err := client.PutObject(t.Context(), r.bucket, "app/"+key, strings.NewReader(body), int64(len(body)), "", "", putOptions())
		a.do(err)
	}
	foreign("f", "of another")
	foreign("new", "of another, new")
	foreign("large", "of another, for the large one")
	foreign("large new", "of another, for the new large one")
	foreign("kept", "of another, and to be kept")
	parts.Store(0)
	a.write("f", "of this node, again")
	a.write("new", "of this node, new")
	a.write("large", largeOf("of this node, again"))
	a.write("large new", largeOf("of this node, new"))
	a.remove("gone")
	a.remove("kept") // of a state that is no more
	a.flush()
	if n := parts.Load(); n < 2 {
		t.Errorf("%d files went in parts", n)
	}
	a.has("kept", "of another, and to be kept")
	a.mustStop()
	var found []string
	for _, key := range r.keys(t, "app/") {
		found = append(found, string(r.get(t, "app/"+key)))
	}
	slices.Sort(found)
	want := []string{
		"of another", "of another, and to be kept", "of another, for the large one", "of another, for the new large one", "of another, new",
		"of this node, again", largeOf("of this node, again"), "of this node, new", largeOf("of this node, new"),
	}
	slices.Sort(want)
	if !slices.Equal(want, found) {
		brief := func(all []string) (some []string) {
			for _, text := range all {
				some = append(some, fmt.Sprintf("%.40s, %d bytes", text, len(text)))
			}
			return some
		}
		t.Errorf("in the bucket (-want +got):\n%s", cmp.Diff(brief(want), brief(found)))
	}
	a.verify()
}

// largeOf is a text that travels in parts.
func largeOf(text string) string { return strings.Repeat(text+". ", 10<<20/len(text)) }
