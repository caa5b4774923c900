package s3

import (
	"context"
	"net/http"
)

// exchange is what minio-go has no way to say with a request, and what it keeps
// to itself of the answer. It travels in the request's context.
type exchange struct {
	// send is added to the request. It is not signed, which S3 demands of host
	// and x-amz-* only; see
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
	send http.Header
	// got are the headers of the answer, nil if there was none.
	got http.Header
}

type exchangeKey struct{}

func (x *exchange) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

// exchanging is the transport that does it.
type exchanging struct{ idleTransport }

func (e exchanging) RoundTrip(r *http.Request) (*http.Response, error) {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return e.idleTransport.RoundTrip(r)
	}
	if len(x.send) > 0 {
		r = r.Clone(r.Context()) // a transport must not change what it was given
		for name, values := range x.send {
			r.Header[name] = values
		}
	}
	response, err := e.idleTransport.RoundTrip(r)
	if err == nil {
		x.got = response.Header
	}
	return response, err
}
