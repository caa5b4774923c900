package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

func TestClass(t *testing.T) {
	said := func(status int, code string) error {
		return minio.ErrorResponse{StatusCode: status, Code: code, Message: "because"}
	}
	sent := func(err error) error { return &url.Error{Op: "Put", URL: "http://store", Err: err} }
	for name, test := range map[string]struct {
		err  error
		want error
	}{
		"nothing":                         {nil, nil},
		"no key":                          {said(404, "NoSuchKey"), store.ErrNotFound},
		"no bucket":                       {said(404, "NoSuchBucket"), store.ErrNoBucket},
		"no upload":                       {said(404, "NoSuchUpload"), nil},
		"403 without a body":              {said(403, "403 Forbidden"), store.ErrAccessDenied},
		"skewed clock":                    {said(403, "RequestTimeTooSkewed"), store.ErrClock},
		"bad signature":                   {said(403, "SignatureDoesNotMatch"), store.ErrAccessDenied},
		"expired token is a 400 at AWS":   {said(400, "ExpiredToken"), store.ErrAccessDenied},
		"412":                             {said(412, "PreconditionFailed"), store.ErrPrecondition},
		"412 without a code":              {said(412, ""), store.ErrPrecondition},
		"409 of a race":                   {said(409, "ConditionalRequestConflict"), store.ErrPrecondition},
		"409 of another kind":             {said(409, "Conflict"), nil},
		"key too long":                    {said(400, "KeyTooLongError"), store.ErrKeyRejected},
		"bad name":                        {said(400, "XMinioInvalidObjectName"), store.ErrKeyRejected},
		"file above":                      {said(400, "XMinioParentIsObject"), store.ErrKeyConflict},
		"disk full":                       {said(507, "XMinioStorageFull"), store.ErrFull},
		"507 by a proxy":                  {said(507, "507 Insufficient Storage"), store.ErrFull},
		"quota":                           {said(400, "XMinioAdminBucketQuotaExceeded"), store.ErrFull},
		"quota is a 403 elsewhere":        {said(403, "QuotaExceeded"), store.ErrFull},
		"wrong checksum":                  {said(400, "XAmzContentChecksumMismatch"), store.ErrDamaged},
		"slow down":                       {said(503, "SlowDown"), store.ErrUnreachable},
		"500":                             {said(500, "InternalError"), store.ErrUnreachable},
		"502 by a proxy":                  {said(502, "502 Bad Gateway"), store.ErrUnreachable},
		"body too slow is a 400":          {said(400, "RequestTimeout"), store.ErrUnreachable},
		"429":                             {said(429, "TooManyRequests"), store.ErrUnreachable},
		"not built":                       {said(501, "NotImplemented"), nil},
		"teapot":                          {said(418, "Teapot"), nil},
		"refused":                         {sent(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), store.ErrUnreachable},
		"forbidden by a firewall":         {sent(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EPERM)}), store.ErrUnreachable},
		"no such host":                    {sent(&net.DNSError{Err: "no such host", Name: "store"}), store.ErrUnreachable},
		"closed early":                    {sent(errors.New("Connection closed by foreign host")), store.ErrUnreachable},
		"body cut off":                    {fmt.Errorf("read: %w", io.ErrUnexpectedEOF), store.ErrUnreachable},
		"reset while reading":             {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, store.ErrUnreachable},
		"our own cancellation":            {sent(context.Canceled), nil},
		"our own deadline":                {context.DeadlineExceeded, nil},
		"a full disk here":                {&localError{syscall.ENOSPC}, nil},
		"a file cut off here":             {&localError{io.ErrUnexpectedEOF}, nil},
		"a commit that quotes the store":  {&localError{store.ErrPrecondition}, nil},
		"skewed clock, wrapped":           {fmt.Errorf("x: %w: %w", store.ErrClock, said(403, "RequestTimeTooSkewed")), store.ErrClock},
		"already classified":              {fmt.Errorf("x: %w: %w", store.ErrFull, said(500, "InternalError")), store.ErrFull},
		"something wrapped by the client": {fmt.Errorf("x: %w", said(404, "NoSuchBucket")), store.ErrNoBucket},
	} {
		if got := class(test.err); !errors.Is(got, test.want) || (got == nil) != (test.want == nil) {
			t.Errorf("%s: class(%v) = %v, want %v", name, test.err, got, test.want)
		}
	}
}

func TestFail(t *testing.T) {
	s := &Store{bucket: "b"}
	cause := minio.ErrorResponse{StatusCode: 507, Code: "XMinioStorageFull", Message: "no room"}
	err := s.fail(t.Context(), "upload", "reports/a.csv", cause)
	if !errors.Is(err, store.ErrFull) || answer(err) != cause {
		t.Errorf("%v does not wrap both", err)
	}
	if want := "upload reports/a.csv: store full or quota reached: no room"; err.Error() != want {
		t.Errorf("says %q, want %q", err, want)
	}
	if err := s.fail(t.Context(), "create", "", store.ErrNoBucket); err.Error() != "create bucket b: no such bucket" {
		t.Errorf("says %q", err)
	}
	// The caller's end of patience, whatever came of it.
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("shutting down"))
	err = s.fail(ctx, "upload", "a", cause)
	if errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("after the end of the context: %v", err)
	}
}

func TestEndpoints(t *testing.T) {
	for endpoint, ok := range map[string]bool{
		"http://127.0.0.1:9000":    true,
		"https://s3.amazonaws.com": true,
		"http://minio.ns.svc/":     true,
		"http://[::1]:9000":        true,
		"":                         false,
		"minio:9000":               false,
		"127.0.0.1:9000":           false,
		"ftp://minio:9000":         false,
		"http://":                  false,
		"http://:9000":             false,
		"http://minio/bucket":      false,
		"http://u:p@minio":         false,
		"http://minio?x=1":         false,
		"http://minio#x":           false,
		"http://mi nio":            false,
		"http://minio:port":        false,
	} {
		_, err := New(Config{Endpoint: endpoint, Bucket: "bucket", AccessKey: "a", SecretKey: "s"})
		if (err == nil) != ok {
			t.Errorf("New with endpoint %q: %v", endpoint, err)
		}
		if err != nil && (!strings.Contains(err.Error(), fmt.Sprintf("%q", endpoint)) || !strings.Contains(err.Error(), "want http://host:port")) {
			t.Errorf("endpoint %q: the error names not the value and what is allowed: %v", endpoint, err)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	f.Add("http://127.0.0.1:9000")
	f.Add("https://[fe80::1%25eth0]:1")
	f.Add("http://a\x00b")
	f.Fuzz(func(t *testing.T, endpoint string) {
		s, err := New(Config{Endpoint: endpoint, Bucket: "bucket", AccessKey: "a", SecretKey: "s"})
		if err != nil {
			return
		}
		// What is accepted can be asked, and nothing of it is ignored.
		if u := s.client.EndpointURL(); u.Host == "" || u.Path != "" && u.Path != "/" || u.User != nil {
			t.Errorf("%q was taken for %q", endpoint, u)
		}
	})
}

func TestBadConfig(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  Config
		says string
	}{
		"no bucket":        {Config{}, `bucket ""`},
		"impossible name":  {Config{Bucket: "a/b"}, `bucket "a/b"`},
		"tiny parts":       {Config{Bucket: "bucket", PartSize: 1024}, "at least 5242880 bytes"},
		"no credentials":   {Config{Bucket: "bucket"}, "access key"},
		"half credentials": {Config{Bucket: "bucket", AccessKey: "a"}, "secret key"},
	} {
		test.cfg.Endpoint = "http://127.0.0.1:9000"
		if !strings.Contains(name, "credentials") {
			test.cfg.AccessKey, test.cfg.SecretKey = "a", "s"
		}
		if _, err := New(test.cfg); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want one that says %q", name, err, test.says)
		}
	}
}

func TestCheckKey(t *testing.T) {
	for key, ok := range map[string]bool{
		"a": true, "a/b/": true, strings.Repeat("x", 1024): true, "__XLDIR__x": true,
		"": false, " ": false, "\n": false, "\xff": false, strings.Repeat("x", 1025): false,
		"a__XLDIR__": false, "__XLDIR__/b": false, "a/__XLDIR__": false,
	} {
		if err := checkKey(key); (err == nil) != ok || err != nil && !errors.Is(err, store.ErrKeyRejected) {
			t.Errorf("checkKey(%.30q) = %v", key, err)
		}
	}
}

func TestNamesAbove(t *testing.T) {
	for _, test := range []struct{ key, prefix, want string }{
		{"a", "", ""},
		{"a/b/c", "", "a a/b"},
		{"a/b/", "", "a"},
		{"a/b/c/d", "a/b/", "a/b a/b/c"},
		{"a/b/c/d", "a/b", "a/b a/b/c"},
		{"a/bc/d", "a/b", "a/bc"},
		{"/a", "", ""},
	} {
		if got := strings.Join(namesAbove(test.key, test.prefix), " "); got != test.want {
			t.Errorf("namesAbove(%q, %q) = %q, want %q", test.key, test.prefix, got, test.want)
		}
	}
}

func TestPartSize(t *testing.T) {
	const mib = 1 << 20
	for _, size := range []int64{1, 5 * mib, 1 << 30, 160_000 * mib, 160_000*mib + 1, maxSize} {
		part := partSize(size, defaultPartSize)
		if count := (size + part - 1) / part; count > maxParts || part < defaultPartSize || part%mib != 0 {
			t.Errorf("%d bytes: %d parts of %d bytes", size, count, part)
		}
	}
}
