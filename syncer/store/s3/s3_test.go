package s3_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"go.uber.org/goleak"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/store/s3"
	"github.com/minio-sidecar/minio-sidecar/syncer/store/storetest"
)

func TestMain(m *testing.M) {
	// toxiproxy 2.5 leaves the two ends of a link behind when a connection
	// ends while a toxic holds data back.
	const toxiproxy = "github.com/Shopify/toxiproxy/v2"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(toxiproxy+"/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction(toxiproxy+".(*ToxicLink).read"),
		goleak.IgnoreAnyFunction(toxiproxy+".(*ToxicLink).write"),
	)
}

// What the suite's sizes stand on: small parts keep it quick.
const (
	single = 8 << 20
	part   = 5 << 20
)

func config(srv *testenv.Server, bucket string) s3.Config {
	return s3.Config{
		Endpoint: srv.Endpoint, Region: testenv.Region, Bucket: bucket,
		AccessKey: srv.AccessKey, SecretKey: srv.SecretKey,
		PartSize: part,
	}
}

func open(t testing.TB, cfg s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// subject is a store in a new bucket of srv.
func subject(t testing.TB, srv *testenv.Server, about storetest.Subject) *storetest.Subject {
	t.Helper()
	srv.Start(t)
	bucket := srv.NewBucket(t, about.Can.Versioning)
	about.Store = open(t, config(srv, bucket))
	about.Single, about.Part = single, part
	about.Server = srv
	about.Open = func(t testing.TB, d storetest.Difference) store.Store {
		cfg := config(srv, bucket)
		if d.Bucket != "" {
			cfg.Bucket = d.Bucket
		}
		cfg.Prefix = d.Prefix
		if d.Before != nil {
			cfg.Endpoint = watched(t, srv, d.Before)
		}
		if d.AccessKey != "" {
			cfg.AccessKey = d.AccessKey
		}
		if d.SecretKey != "" {
			cfg.SecretKey = d.SecretKey
		}
		return open(t, cfg)
	}
	about.Unfinished = func(t testing.TB) int { t.Helper(); return unfinished(t, srv, bucket) }
	return &about
}

// watched is an endpoint of srv that says before what it passes on.
func watched(t testing.TB, srv *testenv.Server, before func(method string)) string {
	t.Helper()
	target, err := url.Parse(srv.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{DisableKeepAlives: true},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // which is signed
		},
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before(r.Method)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return front.URL
}

// unfinished counts the multipart uploads left open in a bucket.
func unfinished(t testing.TB, srv *testenv.Server, bucket string) int {
	t.Helper()
	if srv.Name == "rclone" {
		// It does not list them. On its disk they are files.
		files, err := filepath.Glob(filepath.Join(srv.DataDir, bucket, "*", ".rclone_temp_multipart_*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	n := 0
	for u := range srv.Client(t).ListIncompleteUploads(t.Context(), bucket, "", true) {
		if u.Err != nil {
			t.Fatalf("list unfinished uploads: %v", u.Err)
		}
		n++
	}
	return n
}

func putOptions() minio.PutObjectOptions { return minio.PutObjectOptions{} }

func TestMinIO(t *testing.T) {
	t.Parallel()
	srv := testenv.MinIO(t)
	runVersioned(t, srv, storetest.Subject{
		Can: store.Abilities{
			ConditionalPut: true, ConditionalMultipart: true, Checksums: true, ChecksumsOfParts: true,
			Metadata: true, Lasting: true, FolderObjects: true,
		},
		Hides:   true,
		Refuses: []string{"__XLDIR__", ". ", " ..", `..\up`},
	})
}

func TestVersitygw(t *testing.T) {
	t.Parallel()
	srv := testenv.Versitygw(t)
	runVersioned(t, srv, storetest.Subject{
		Can: store.Abilities{
			ConditionalPut: true, ConditionalMultipart: true, ConditionalDelete: true, Checksums: true, ChecksumsOfParts: true,
			Metadata: true, Lasting: true, FolderObjects: true,
		},
		NoPast:  true,
		Refuses: append(namesWith(isNotXML), "__XLDIR__"),
	})
}

// runVersioned runs the suite in buckets without and with versions.
func runVersioned(t *testing.T, srv *testenv.Server, about storetest.Subject) {
	for _, versioned := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "versioned"}[versioned]
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t testing.TB) *storetest.Subject {
				about.Can.Versioning = versioned
				return subject(t, srv, about)
			})
		})
	}
}

// What is tried out leaves nothing behind, not even versions.
func TestAbilitiesLeaveNoVersions(t *testing.T) {
	srv := testenv.MinIO(t)
	bucket := srv.NewBucket(t, true)
	s := open(t, config(srv, bucket))
	mine := put(t, s, "p/.minio-sidecar/probe/mine", 1)
	if _, err := s.Abilities(t.Context(), "p/"); err != nil {
		t.Fatal(err)
	}
	for v := range srv.Client(t).ListObjectsIter(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		if v.Err != nil || v.Key != mine.Key {
			t.Errorf("left behind: %s %s %v", v.Key, v.VersionID, v.Err)
		}
	}
	wantWhole(t, s, mine, 1)
}

// isNotXML are the characters that cannot be written in XML.
func isNotXML(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' }

// isSpecial are those that rclone replaces in names.
func isSpecial(r rune) bool { return r < ' ' || r == '\x7f' || r == '\u201b' }

// namesWith are those of storetest's names with such a character.
func namesWith(such func(rune) bool) []string {
	var names []string
	for _, name := range storetest.Names() {
		if strings.ContainsFunc(name, such) {
			names = append(names, name)
		}
	}
	return names
}

func TestRclone(t *testing.T) {
	t.Parallel()
	srv := testenv.RcloneS3(t)
	storetest.Run(t, func(t testing.TB) *storetest.Subject {
		return subject(t, srv, storetest.Subject{
			Can: store.Abilities{
				ConditionalPut: true, ConditionalMultipart: true, ConditionalDelete: true, Checksums: true,
				Metadata: true,
			},
			Folders: true,
			Refuses: append(namesWith(isSpecial), "__XLDIR__"),
		})
	})
}
