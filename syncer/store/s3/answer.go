package s3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

const (
	// maxAnswer bounds the longest answer, a page of a listing, in bytes. That
	// is 1,000 entries, each with a key of 1 KiB, three times as long in the
	// encoding of URLs; metadata of 2 KiB, six times as long where all of it is
	// &quot;; and 1 KiB of everything else.
	maxAnswer = 1000 * (3 + 6*2 + 1) << 10
	// maxEntries bounds how many there are, ten times as many as are asked for:
	// decoded, an entry takes half a KiB, though "<Contents/>" is all there is
	// of it.
	maxEntries = 10 * 1000
	// maxTags bounds all elements, at 256 tags for each of 1,000 entries: 15
	// elements for what a store says of each object, and more than a hundred
	// for metadata, which is as many as fit into 2 KiB.
	maxTags = 1000 * 256
	// maxError is many times what stores have to say of what went wrong.
	maxError = 64 << 10
)

// maxName is longer than all of their names.
const maxName = 32

// entries are the elements of which an answer has one for each object.
var entries = map[string]bool{
	"Contents": true, "CommonPrefixes": true, "Version": true, "DeleteMarker": true, "Upload": true,
}

var errEndless = errors.New("the answer is longer than any that a store gives: does this endpoint speak S3?")

// isContent says whether a response carries what is in an object.
func isContent(r *http.Request, response *http.Response) bool {
	if r.Method != http.MethodGet || response.StatusCode >= 300 {
		return false
	}
	for name := range r.URL.Query() {
		if name != "versionId" && name != "partNumber" {
			return false
		}
	}
	return true
}

// wholeError takes the body of an error into memory.
func wholeError(body io.ReadCloser) (io.ReadCloser, error) {
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxError+1))
	if err == nil && len(b) > maxError {
		err = errEndless
	}
	return io.NopCloser(bytes.NewReader(b)), err
}

// answerBody fails when an answer in XML becomes too much for decoding it.
type answerBody struct {
	io.Closer
	r                    io.Reader
	bytes, tags, entries int
	name                 []byte // of the element that begins here
	inName               bool
}

func newAnswerBody(body io.ReadCloser) *answerBody { return &answerBody{Closer: body, r: body} }

func (a *answerBody) Read(p []byte) (int, error) {
	if a.bytes > maxAnswer || a.tags > maxTags || a.entries > maxEntries {
		return 0, errEndless
	}
	n, err := a.r.Read(p)
	a.bytes += n
	for _, c := range p[:n] {
		switch {
		case c == '<':
			a.tags++
			a.inName, a.name = true, a.name[:0]
		case !a.inName:
		case c == ':': // that was the name space
			a.name = a.name[:0]
		case 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z':
			if len(a.name) < maxName {
				a.name = append(a.name, c)
			}
		default:
			a.inName = false
			if entries[string(a.name)] {
				a.entries++
			}
		}
	}
	return n, err
}
