package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/singleflight"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// MinIO does not list a/b while there is an object a, and in a bucket with
// versions not even after a was deleted: its delete marker hides a/b from
// listings for good. Other stores list names with control characters as
// something else. An upload that no listing shows is lost to the next restore,
// so it must not count as done. Hence the names above a key are looked up, each
// once, and where something is or was, or the name is odd, the new object is
// looked for in the listing that callers use.

const (
	// maxClear bounds how many names are remembered.
	maxClear = 1 << 14
	// clearFor is how long a name counts as clear: other writers may put a file
	// there. It is long enough for the files of one folder, of which many come
	// at once, to cost one question.
	clearFor = 10 * time.Second
)

// clearNames remembers the names at which there is no file: for a while, and
// no longer than until this process writes or deletes one there.
type clearNames struct {
	flights singleflight.Group // many files of one new folder come at once

	mu    sync.Mutex
	looks map[string]*clearLook
}

// clearLook is a question whether there is a file at a name.
type clearLook struct {
	began time.Time
	clear bool // it has been answered: there is none
}

func (c *clearNames) has(name string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.looks[name]
	return ok && l.clear && now.Sub(l.began) < clearFor
}

// begin is to be called before the store is asked, and what it returns with
// the name clear: an answer that is older than the last change says nothing.
func (c *clearNames) begin(name string, now time.Time) (clear func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looks == nil || len(c.looks) >= maxClear {
		c.looks = make(map[string]*clearLook)
	}
	l := &clearLook{began: now}
	c.looks[strings.Clone(name)] = l
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		l.clear = true // which nobody sees if it was forgotten meanwhile
	}
}

// forget is to be called around every change of what is at name.
func (c *clearNames) forget(name string) {
	c.flights.Forget(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.looks, name)
}

// namesAbove are those at which a file would hide key from a listing of
// prefix: for key a/b/c and prefix a/ these are a and a/b.
func namesAbove(key, prefix string) []string {
	var names []string
	for i := range len(key) - 1 {
		if key[i] == '/' && i > 0 && i+1 >= len(prefix) {
			names = append(names, key[:i])
		}
	}
	return names
}

// hiding returns the first name above key at which there is or was a file,
// empty if there is none.
func (s *Store) hiding(ctx context.Context, key string) (string, error) {
	for _, name := range namesAbove(key, s.prefix) {
		if s.clear.has(name, time.Now()) {
			continue
		}
		// One caller's impatience must not fail the others.
		flight := s.clear.flights.DoChan(name, func() (any, error) {
			clear := s.clear.begin(name, time.Now())
			ctx := context.WithoutCancel(ctx)
			found := false
			// Many wait for the answer, and it does not last: where a store
			// refuses now and then, they would all fail for one refusal.
			err := retry(ctx, func() (err error) {
				found, err = s.isOrWas(ctx, name)
				return err
			})
			if err == nil && !found {
				clear()
			}
			return found, err
		})
		select {
		case result := <-flight:
			if result.Err != nil {
				return "", result.Err
			}
			if result.Val.(bool) {
				return name, nil
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return "", nil
}

// isOrWas says whether there is an object, or the marker of a deleted one.
func (s *Store) isOrWas(ctx context.Context, key string) (bool, error) {
	info, err := s.client.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{})
	switch {
	case err == nil || info.IsDeleteMarker:
		return true, nil
	case errors.Is(class(err), store.ErrNotFound):
		return false, nil
	case answer(err).StatusCode == http.StatusBadRequest:
		_, err = s.head(ctx, key) // says what is bad
	}
	return false, err
}

// isRewritten: `rclone serve s3` lists names with such a character as they are
// for the five minutes in which it remembers folders, and then with another one
// in its place; see https://rclone.org/overview/#restricted-characters.
func isRewritten(r rune) bool { return r < ' ' || r == '\x7f' || r == '\u201b' }

var errRewritten = fmt.Errorf("%w: it keeps objects as rclone does, and would soon list the name with another character in the place of a special one", store.ErrKeyRejected)

// lastingKnown remembers what was found out of a store.
type lastingKnown struct {
	mu             sync.Mutex
	known, lasting bool
}

// isLasting tries out once, where it matters, whether the store is such a one:
// see [probe.lasting].
func (s *Store) isLasting(ctx context.Context) (lasting bool, err error) {
	s.lasting.mu.Lock()
	defer s.lasting.mu.Unlock()
	if s.lasting.known {
		return s.lasting.lasting, nil
	}
	p := s.newProbe(s.prefix)
	if lasting, err = p.lasting(ctx); err == nil {
		s.lasting.known, s.lasting.lasting = true, lasting
	}
	p.end(ctx, &err)
	return lasting, err
}

// doubt is a reason why a listing might not show an upload.
type doubt struct {
	err     error
	listing minio.ListObjectsOptions // the one that tells
}

// doubtful returns nil if nothing is wrong with key.
func (s *Store) doubtful(ctx context.Context, key string) (*doubt, error) {
	if strings.ContainsFunc(key, isRewritten) {
		if lasting, err := s.isLasting(ctx); err != nil || !lasting {
			return nil, cmp.Or(err, errRewritten)
		}
	}
	name, err := s.hiding(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case name != "":
		// MinIO does list what is hidden if asked for just that.
		_, last := utf8.DecodeLastRuneInString(key)
		return &doubt{errHidden(name), minio.ListObjectsOptions{
			Prefix: s.prefix, StartAfter: key[:len(key)-last], Recursive: true,
		}}, nil
	case !isXML(key):
		err := fmt.Errorf("%w: its listings show names with control characters as something else", store.ErrKeyRejected)
		return &doubt{err, minio.ListObjectsOptions{Prefix: key, Recursive: true}}, nil
	}
	return nil, nil
}

// isXML says whether all of key can stand in a listing as it is: control
// characters cannot be written in XML, and line ends are rewritten, unless the
// store honours encoding-type=url. See https://www.w3.org/TR/xml/#charsets.
func isXML(key string) bool {
	for _, r := range key {
		if r < ' ' || r == 0x7f || r == 0xfffe || r == 0xffff {
			return false
		}
	}
	return true
}

// mayReplace refuses a write of which it is in doubt whether a listing will
// show it, where a listing does not show what the write would replace either.
// What is left of the doubt concerns a new object: nothing else can be taken
// back afterwards.
func (s *Store) mayReplace(ctx context.Context, key string, d *doubt) (*doubt, error) {
	shown, err := s.shows(ctx, key, d)
	if err != nil || shown {
		return nil, err
	}
	switch _, err := s.head(ctx, key); {
	case err == nil:
		return nil, refusal{d.err}
	case errors.Is(class(err), store.ErrNotFound):
		return d, nil
	default:
		return nil, err
	}
}

// CheckListed implements [store.Store].
func (s *Store) CheckListed(ctx context.Context, key, etag string) error {
	d, err := s.doubtful(ctx, key)
	if err == nil && d != nil {
		err = s.checkListed(ctx, key, etag, d)
	}
	if err != nil {
		return s.fail(ctx, "look whether a listing shows", key, err)
	}
	return nil
}

// checkListed returns the doubt if callers would not find key, which is new
// and has this ETag, in their listing, and then removes it again. That does not
// depend on the caller's patience: nobody would look for it any more.
func (s *Store) checkListed(ctx context.Context, key, etag string, d *doubt) error {
	shown, err := s.shows(ctx, key, d)
	if err != nil || shown {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	if err := s.delete(ctx, key, etag); err != nil && !errors.Is(class(err), store.ErrPrecondition) {
		return err
	}
	return refusal{d.err}
}

// shows says whether callers find key in their listing.
func (s *Store) shows(ctx context.Context, key string, d *doubt) (bool, error) {
	began := time.Now()
	for info := range s.client.ListObjectsIter(ctx, s.bucket, d.listing) {
		if info.Err != nil {
			return false, info.Err
		}
		if info.Key == key {
			// A store that keeps them apart.
			for _, name := range namesAbove(key, s.prefix) {
				s.clear.begin(name, began)()
			}
			return true, nil
		}
		if info.Key > key {
			break
		}
	}
	return false, ctx.Err()
}

// checkNotHidden tells an empty listing of the caller's prefix from a hidden
// one. Of a folder below it the caller's own listing has told already.
func (s *Store) checkNotHidden(ctx context.Context, prefix string) error {
	name, isFolder := strings.CutSuffix(prefix, "/")
	if prefix != s.prefix || !isFolder || name == "" {
		return nil
	}
	found, err := s.isOrWas(ctx, name)
	if err == nil && found {
		err = errHidden(name)
	}
	return err
}

// explain looks for the reason of a refusal that has no code of its own: some
// stores without room for both a and a/b say no more than "invalid request".
func (s *Store) explain(ctx context.Context, key string, err error) error {
	if status := answer(err).StatusCode; class(err) != nil || status < 400 || status >= 500 {
		return err
	}
	for _, name := range namesAbove(key, "") {
		if found, headErr := s.isOrWas(ctx, name); headErr == nil && found {
			return fmt.Errorf("%w: there is an object %s: %w", store.ErrKeyConflict, name, err)
		}
	}
	below := minio.ListObjectsOptions{Prefix: key + "/", Recursive: true, MaxKeys: 1}
	for info := range s.client.ListObjectsIter(ctx, s.bucket, below) {
		if info.Err == nil && info.Key != key+"/" {
			return fmt.Errorf("%w: there is an object %s: %w", store.ErrKeyConflict, info.Key, err)
		}
		break
	}
	return err
}

func errHidden(name string) error {
	return fmt.Errorf("%w: there is or was an object %s, and this store may then list nothing below that name: remove it with all of its versions, or use another name",
		store.ErrKeyConflict, name)
}
