package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// flipper is a proxy that flips a bit of the byte at an offset of every object
// that passes, in the direction of the client; nothing while offset is -1.
type flipper struct {
	*httptest.Server
	offset atomic.Int64
	// up, where set, flips a bit of one request, in the direction of the store.
	up atomic.Pointer[upFlip]
}

func newFlipper(t testing.TB, srv *testenv.Server) *flipper {
	t.Helper()
	target, err := url.Parse(srv.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	f := &flipper{}
	f.offset.Store(-1)
	transport := &http.Transport{DisableCompression: true}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		// Keep the host that was signed.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host
			if u := f.up.Load(); u != nil {
				u.maybe(r.Out)
			}
		},
		ModifyResponse: func(r *http.Response) error {
			var from int64
			fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-", &from)
			at := f.offset.Load() - from
			if r.Request.Method == http.MethodGet && r.Header.Get("ETag") != "" && at >= 0 && at < r.ContentLength {
				r.Body = &flippedBody{r.Body, at}
			}
			return nil
		},
	}
	f.Server = httptest.NewServer(proxy)
	t.Cleanup(func() {
		f.Close()
		transport.CloseIdleConnections()
	})
	return f
}

type flippedBody struct {
	io.ReadCloser
	left int64 // until the byte
}

func (f *flippedBody) Read(b []byte) (int, error) {
	n, err := f.ReadCloser.Read(b)
	if f.left >= 0 && f.left < int64(n) {
		b[f.left] ^= 0x10
	}
	f.left -= int64(n)
	return n, err
}

// otherClients are the ways in which others upload.
func otherClients(t *testing.T, c *minio.Core, bucket string) map[string]store.Object {
	t.Helper()
	objects := map[string]store.Object{}
	add := func(name string, size int64, etag string, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		objects[name] = store.Object{Key: "p/" + name, Size: size, ETag: etag}
	}
	for name, opts := range map[string]minio.PutObjectOptions{
		"single MD5 only":   {DisableContentSha256: true},
		"single CRC32":      {UserMetadata: sum(minio.ChecksumCRC32, content(1000))},
		"single CRC32C":     {UserMetadata: sum(minio.ChecksumCRC32C, content(1000))},
		"single SHA1":       {UserMetadata: sum(minio.ChecksumSHA1, content(1000))},
		"single SHA256":     {UserMetadata: sum(minio.ChecksumSHA256, content(1000))},
		"single CRC64NVME":  {UserMetadata: sum(minio.ChecksumCRC64NVME, content(1000))},
		"compressed output": {ContentEncoding: "gzip", ContentType: "text/plain"},
	} {
		info, err := c.PutObject(t.Context(), bucket, "p/"+name, bytes.NewReader(content(1000)), 1000, "", "", opts)
		add(name, 1000, info.ETag, err)
	}
	for name, kind := range map[string]minio.ChecksumType{
		"parts without a checksum": minio.ChecksumNone,
		"parts CRC32":              minio.ChecksumCRC32,
		"parts CRC32C":             minio.ChecksumCRC32C,
		"parts SHA256":             minio.ChecksumSHA256,
		"parts CRC64NVME":          minio.ChecksumCRC64NVME,
		"parts CRC32C of whole":    minio.ChecksumFullObjectCRC32C,
	} {
		for _, size := range []int64{2*part + 17, 7*part + 1} { // one request of ours, and several
			name := fmt.Sprintf("%s %d", name, size)
			info, err := inParts(t, c, bucket, "p/"+name, kind, content(size))
			add(name, size, info.ETag, err)
		}
	}
	return objects
}

func sum(kind minio.ChecksumType, b []byte) map[string]string {
	return map[string]string{kind.Key(): kind.EncodeToString(b)}
}

func inParts(t *testing.T, c *minio.Core, bucket, key string, kind minio.ChecksumType, b []byte) (minio.UploadInfo, error) {
	t.Helper()
	var opts minio.PutObjectOptions
	if kind.IsSet() {
		opts.UserMetadata = map[string]string{"x-amz-checksum-algorithm": kind.String()}
		if kind.FullObjectRequested() {
			opts.UserMetadata["x-amz-checksum-type"] = "FULL_OBJECT"
		}
	}
	id, err := c.NewMultipartUpload(t.Context(), bucket, key, opts)
	if err != nil {
		return minio.UploadInfo{}, err
	}
	var parts []minio.CompletePart
	for n, from := 1, 0; from < len(b); n, from = n+1, from+part {
		chunk := b[from:min(from+part, len(b))]
		header := http.Header{}
		if kind.IsSet() {
			header.Set(kind.Key(), kind.EncodeToString(chunk))
		}
		p, err := c.PutObjectPart(t.Context(), bucket, key, id, n, bytes.NewReader(chunk), int64(len(chunk)),
			minio.PutObjectPartOptions{CustomHeader: header})
		if err != nil {
			return minio.UploadInfo{}, err
		}
		parts = append(parts, minio.CompletePart{
			PartNumber: n, ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32, ChecksumCRC32C: p.ChecksumCRC32C,
			ChecksumSHA256: p.ChecksumSHA256, ChecksumCRC64NVME: p.ChecksumCRC64NVME,
		})
	}
	var done minio.PutObjectOptions
	if kind.FullObjectRequested() {
		done.UserMetadata = sum(kind, b)
		done.UserMetadata["x-amz-checksum-type"] = "FULL_OBJECT"
	}
	return c.CompleteMultipartUpload(t.Context(), bucket, key, id, parts, done)
}

// Whoever uploaded it and however, a bit that flips on the way is noticed.
func TestDamageOnTheWay(t *testing.T) {
	srv := testenv.MinIO(t)
	bucket := srv.NewBucket(t, false)
	proxy := newFlipper(t, srv)
	cfg := config(srv, bucket)
	cfg.Endpoint = proxy.URL
	s := open(t, cfg)

	objects := otherClients(t, srv.Client(t), bucket)
	for _, size := range []int64{1, 1000, single, single + 1, 7*part + 1} {
		name := fmt.Sprintf("our own %d", size)
		objects[name] = put(t, s, "p/"+name, size)
	}
	for name, o := range objects {
		proxy.offset.Store(-1)
		wantWhole(t, s, o, o.Size)
		for _, offset := range []int64{0, o.Size / 2, o.Size - 1} {
			proxy.offset.Store(offset)
			b, err := get(s, o)
			if bytes.Equal(b, content(o.Size)) {
				t.Fatalf("%s: the proxy flipped nothing", name)
			}
			if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), o.Key) {
				t.Errorf("%s, bit flipped at %d of %d: %v", name, offset, o.Size, err)
			}
			if o.Size <= 1000 {
				if _, _, err := s.Read(t.Context(), o.Key); !errors.Is(err, store.ErrDamaged) {
					t.Errorf("%s, bit flipped: Read: %v", name, err)
				}
			}
		}
	}
}

// A bit that flips on the store's disk is never handed out.
func TestDamageAtRest(t *testing.T) {
	wants := map[string]error{
		"minio": store.ErrDamaged, "versitygw": store.ErrDamaged,
		// Keeps no checksum: to it this is a new object with another ETag.
		"rclone": store.ErrPrecondition,
	}
	for name, start := range map[string]func(testing.TB, ...testenv.Option) *testenv.Server{
		"minio": testenv.MinIO, "versitygw": testenv.Versitygw, "rclone": testenv.RcloneS3,
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t)
			bucket := srv.NewBucket(t, false)
			s := open(t, config(srv, bucket))
			for _, size := range []int64{1000, single, 7*part + 1} {
				o := put(t, s, fmt.Sprintf("p/%d", size), size)
				wantWhole(t, s, o, size)
				rot(t, srv.DataDir, content(size)[size/2:][:32])
				if b, err := get(s, o); err == nil {
					t.Errorf("%d bytes: a rotten object was taken: %v", size, bytes.Equal(b, content(size)))
				} else if want := wants[name]; !errors.Is(err, want) {
					t.Errorf("%d bytes: %v, want %v", size, err, want)
				}
			}
		})
	}
}

// rot flips a bit wherever the files below dir hold these bytes.
func rot(t *testing.T, dir string, what []byte) {
	t.Helper()
	rotten := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		at := bytes.Index(b, what)
		if at < 0 {
			return nil
		}
		rotten++
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // in place: attributes stay
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte{what[0] ^ 1}, int64(at))
		return err
	})
	if err != nil || rotten == 0 {
		t.Fatalf("%d files rot: %v", rotten, err)
	}
}
