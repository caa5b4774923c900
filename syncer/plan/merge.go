package plan

import (
	"fmt"
	"iter"
	"strings"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// Merge joins three listings in key order into one item a key. Its memory
// does not grow with the listings.
//
// A listing that ends in an error, or is out of order, ends the result with
// that error: from a partial listing nothing can be concluded about what it
// does not show. Below an Opaque local directory no items are produced, for
// the same reason; the directory itself, and each Special, is passed on as an
// Item whose Local says so.
func Merge(
	local iter.Seq2[entry.Local, error],
	remote iter.Seq2[entry.Remote, error],
	base iter.Seq2[entry.Base, error],
) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		l := pull("scan", local, func(e entry.Local) string { return e.Key })
		defer l.stop()
		r := pull("listing", remote, func(e entry.Remote) string { return e.Key })
		defer r.stop()
		b := pull("base", base, func(e entry.Base) string { return e.Key })
		defer b.stop()

		opaque := "" // everything below this folder is unknown
		for {
			for _, err := range []error{l.err, r.err, b.err} {
				if err != nil {
					yield(Item{}, err)
					return
				}
			}
			key, ok := lowest(l.head(), r.head(), b.head())
			if !ok {
				return
			}
			item := Item{Key: key, Local: l.take(key), Remote: r.take(key), Base: b.take(key)}
			if opaque != "" && strings.HasPrefix(key, opaque) {
				continue
			}
			opaque = ""
			if item.Local != nil && item.Local.Kind == entry.Opaque {
				opaque = key
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

// cursor is one listing, one element ahead.
type cursor[T any] struct {
	name string
	key  func(T) string
	next func() (T, error, bool)
	stop func()

	current *T
	err     error
}

func pull[T any](name string, seq iter.Seq2[T, error], key func(T) string) *cursor[T] {
	c := &cursor[T]{name: name, key: key}
	c.next, c.stop = iter.Pull2(seq)
	c.advance()
	return c
}

func (c *cursor[T]) advance() {
	previous := c.current
	value, err, ok := c.next()
	switch {
	case !ok:
		c.current = nil
	case err != nil:
		c.current, c.err = nil, err
	default:
		c.current = &value
		if previous != nil && c.key(value) <= c.key(*previous) {
			c.err = fmt.Errorf("%s is out of order: %q follows %q", c.name, c.key(value), c.key(*previous))
		}
	}
}

func (c *cursor[T]) head() *string {
	if c.current == nil {
		return nil
	}
	key := c.key(*c.current)
	return &key
}

// take returns the current element if it has this key, and moves on.
func (c *cursor[T]) take(key string) *T {
	if c.current == nil || c.key(*c.current) != key {
		return nil
	}
	value := c.current
	c.advance()
	return value
}

func lowest(keys ...*string) (string, bool) {
	var low *string
	for _, k := range keys {
		if k != nil && (low == nil || *k < *low) {
			low = k
		}
	}
	if low == nil {
		return "", false
	}
	return *low, true
}
