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
			key, ok := l.lower("", false)
			key, ok = r.lower(key, ok)
			key, ok = b.lower(key, ok)
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

	current *T     // nil at the end
	at      string // its key
	err     error
}

func pull[T any](name string, seq iter.Seq2[T, error], key func(T) string) *cursor[T] {
	c := &cursor[T]{name: name, key: key}
	c.next, c.stop = iter.Pull2(seq)
	c.advance()
	return c
}

func (c *cursor[T]) advance() {
	first, previous := c.current == nil, c.at
	value, err, ok := c.next()
	switch {
	case !ok:
		c.current = nil
	case err != nil:
		c.current, c.err = nil, err
	default:
		c.current, c.at = &value, c.key(value)
		if !first && c.at <= previous {
			c.err = fmt.Errorf("%s is out of order: %q follows %q", c.name, c.at, previous)
		}
	}
}

// lower returns the current key if there is one that is lower than key or if
// key is none, and otherwise what it was given.
func (c *cursor[T]) lower(key string, ok bool) (string, bool) {
	if c.current != nil && (!ok || c.at < key) {
		return c.at, true
	}
	return key, ok
}

// take returns the current element if it has this key, and moves on.
func (c *cursor[T]) take(key string) *T {
	if c.current == nil || c.at != key {
		return nil
	}
	value := c.current
	c.advance()
	return value
}
