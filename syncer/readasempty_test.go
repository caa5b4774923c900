package syncer

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// notListings are what may come back instead of a listing, none of which says
// that anything is not there.
func notListings() map[string]func(*between) {
	const empty = `<?xml version="1.0" encoding="UTF-8"?>` +
		`<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>%s</Name><Prefix>%s</Prefix>` +
		`<KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>`
	say := func(status int, text string) func(*between) {
		return func(b *between) {
			b.answers(func(w http.ResponseWriter, r *http.Request) bool {
				if !listsFiles(r) {
					return false
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, text)
				return true
			})
		}
	}
	return map[string]func(*between){
		"200 with an empty listing": func(b *between) {
			b.answers(func(w http.ResponseWriter, r *http.Request) bool {
				if listsFiles(r) {
					fmt.Fprintf(w, empty, strings.Trim(r.URL.Path, "/"), r.URL.Query().Get("prefix"))
				}
				return listsFiles(r)
			})
		},
		"200 with HTML":     say(http.StatusOK, "<!DOCTYPE html><html><body>Please log in</body></html>"),
		"200 with nothing":  say(http.StatusOK, ""),
		"404 of a proxy":    say(http.StatusNotFound, "default backend - 404"),
		"503 with an Error": say(http.StatusServiceUnavailable, `<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>`),
		"half, then 503":    func(b *between) { half(b, http.StatusServiceUnavailable) },
		"half, then an end": func(b *between) { half(b, 0) },
		"half a page":       func(b *between) { b.spoils(cutShort) },
	}
}

// cutShort lets half of a listing's page through and then closes.
func cutShort(r *http.Response) error {
	if !listsFiles(r.Request) {
		return nil
	}
	page, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(page[:len(page)/2])) // the announced length stays
	return nil
}

// half turns a listing into its first half and an error (or, for status 0, a
// connection that ends) in place of the second.
func half(b *between, status int) {
	b.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if !listsFiles(r) || !r.URL.Query().Has("continuation-token") {
			return false
		}
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
		return true
	})
	b.spoils(func(r *http.Response) error {
		page, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		some := page
		if entries := bytes.SplitAfter(page, []byte("</Contents>")); listsFiles(r.Request) && len(entries) > 2 {
			entries = entries[:len(entries)/2]
			_, key, _ := bytes.Cut(entries[len(entries)-1], []byte("<Key>"))
			key, _, _ = bytes.Cut(key, []byte("</Key>"))
			last, err := url.QueryUnescape(string(key))
			if err != nil {
				return err
			}
			some = append(bytes.Join(entries, nil), "</ListBucketResult>"...)
			some = bytes.Replace(some, []byte("<IsTruncated>false</IsTruncated>"), fmt.Appendf(nil,
				"<IsTruncated>true</IsTruncated><NextContinuationToken>%s</NextContinuationToken>",
				base64.StdEncoding.EncodeToString([]byte(last))), 1)
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(some)), int64(len(some))
		r.Header.Set("Content-Length", strconv.Itoa(len(some)))
		return nil
	})
}

// TestUnreachableReadAsEmpty: whatever answers in place of the store, or comes
// of its answer on the way, is never read as a bucket that has become empty: not
// by a sync that listens to others, not by one that starts, not by a restore.
func TestUnreachableReadAsEmpty(t *testing.T) {
	server := testenv.MinIO(t)
	for name, lie := range notListings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			other := r.node(t) // its presence makes the first list
			other.attendEvery = 100 * time.Millisecond
			proxy := r.between(t)
			a, b := r.node(t), r.node(t)
			a.attendEvery = 100 * time.Millisecond
			a.start()
			a.fill(20)
			other.restore()
			other.start()
			a.await("not alone", func() bool { return len(a.engine.Status().OtherWriters) == 1 })

			lie(proxy)
			a.listsAgain(proxy, 2)
			a.hasFiles(20)
			a.write("d0/meanwhile", "uploads do not need a listing")
			a.await("uploaded", func() bool { return slices.Contains(r.keys(t, "app/"), "d0/meanwhile") })
			a.hasKeys(21)

			if err := a.stopWithin(2 * time.Second); err != nil {
				t.Logf("stop: %v", err) // deletions are not certain without a listing
			}
			a.config.FlushTimeout = testPatience
			a.remove("d1/1") // of the first half of the listing,
			a.remove("d2/8") // and of the second
			a.startOnly()
			a.listsAgain(proxy, 2)
			if a.engine.isInStep() {
				t.Error("in step without a listing")
			}
			a.hasFiles(19)
			a.hasKeys(21) // not even those that were deleted

			e := b.open()
			restored := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), testPatience)
			defer cancel()
			go func() { restored <- e.Restore(ctx) }()
			b.listsAgain(proxy, 2)
			b.await("unreachable", func() bool { return condition(b) == status.Unreachable })
			if e.Status().Restored {
				t.Errorf("status of a restore without a listing: %+v", e.Status())
			}

			proxy.honest()
			if err := <-restored; err != nil {
				t.Fatal(err)
			}
			a.await("in step", func() bool { return a.engine.isInStep() })
			a.flush()
			have := b.listing() // and perhaps what was deleted afterwards
			for p, line := range a.listing() {
				if have[p] != line {
					t.Errorf("%s was restored as %q, want %q", p, have[p], line)
				}
			}
			other.await("pulled", func() bool { return len(other.files()) == 19 })
			a.mustStop()
			other.mustStop()
			other.equals(a)
			a.hasKeys(19)
		})
	}
}

// listsAgain waits until the node has asked for everything so many times more,
// or is not going to.
func (n *node) listsAgain(b *between, times int64) {
	n.t.Helper()
	from := b.asked.Load()
	n.await("listed", func() bool { return b.asked.Load() >= from+times })
}

// TestPrefixEmptiedUnderAFollower: a read-only volume is not emptied by what
// happens to the bucket as a whole either.
func TestPrefixEmptiedUnderAFollower(t *testing.T) {
	server := testenv.MinIO(t)
	r := newRig(t, server)
	a := r.node(t)
	a.start()
	a.fill(20)
	a.mustStop()
	b := r.node(t, func(c *Config) { c.Mode = contract.ModeReadOnly })
	b.restore()
	b.attendEvery = 100 * time.Millisecond
	b.start()
	client := server.Client(t)
	for obj := range client.Client.ListObjectsIter(t.Context(), r.bucket, listAll()) {
		a.do(client.RemoveObject(t.Context(), r.bucket, obj.Key, removeOptions()))
	}
	select {
	case err := <-b.ended:
		b.cancel = nil
		if !errors.Is(err, ErrBucketReplaced) {
			t.Fatalf("sync ended with %v", err)
		}
	case <-time.After(testPatience):
		t.Fatal("sync did not notice that the prefix was emptied")
	}
	b.hasFiles(20)
	b.start() // as Kubernetes would
	b.mustStop()
	b.hasFiles(20)
	if left, err := filepath.Glob(filepath.Join(b.dir, ".minio-sidecar", "tmp", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
