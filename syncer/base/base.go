// Package base keeps, on disk, what volume and bucket agreed on last: the
// common ancestor of every three-way merge. It survives a kill at any moment.
//
// Losing it costs time, not data: a path without a base that is equal on both
// sides is adopted. So a damaged file is put aside rather than repaired.
package base

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// ErrInUse: another process has this base open.
var ErrInUse = errors.New("in use by another syncer")

var (
	entriesBucket = []byte("entries")
	metaBucket    = []byte("meta")
)

const (
	fileName = "base.db"
	// lockWait is how long Open waits for a predecessor that is just ending.
	lockWait = 5 * time.Second
	// pageOf is how many records a read transaction covers: bbolt cannot
	// reuse pages while one is open, so a scan must not hold it throughout.
	pageOf = 512
	// maxBatch bounds one commit.
	maxBatch = 4096
)

// DB is the base of one volume and one prefix. It is safe for concurrent use.
type DB struct {
	db    *bolt.DB
	count atomic.Int64
	// PutAside is where a damaged predecessor was moved to; empty if none was.
	PutAside string

	changes chan change
	stop    chan struct{}
	done    sync.WaitGroup
}

type change struct {
	key    string
	record []byte // nil: delete
	done   func(error)
}

// Open opens or creates the base in dir. A file that is damaged is renamed to
// base.db.damaged and a new one begun; [ErrInUse] if another process holds it.
func Open(dir string) (*DB, error) {
	file := filepath.Join(dir, fileName)
	d, err := open(file)
	if err != nil && damaged(err) {
		aside := file + ".damaged"
		if moveErr := os.Rename(file, aside); moveErr != nil {
			return nil, fmt.Errorf("open base %s: %w (and it could not be put aside: %w)", file, err, moveErr)
		}
		if d, err = open(file); err == nil {
			d.PutAside = aside
		}
	}
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("open base %s: %w; end it, or give this one another --state-dir", file, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("open base %s: %w", file, err)
	}
	d.done.Go(d.commitLoop)
	return d, nil
}

func damaged(err error) bool {
	return errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) ||
		errors.Is(err, berrors.ErrVersionMismatch) || errors.Is(err, errRecord) || errors.Is(err, errUnreadable)
}

// errUnreadable: bbolt panicked over what it read.
var errUnreadable = errors.New("file is damaged")

// open also reads every record once: that counts them, and finds damage here
// rather than in the middle of a plan.
func open(file string) (d *DB, err error) {
	db, err := openBolt(file)
	if err != nil {
		return nil, err
	}
	d = &DB{db: db, changes: make(chan change, maxBatch), stop: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{entriesBucket, metaBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, d.check()
}

// openBolt turns bbolt's panics over a torn file into an error. A file that is
// not whole pages, or shorter than its meta page says, would otherwise fault.
func openBolt(file string) (db *bolt.DB, err error) {
	defer recoverDamage(&err)
	return bolt.Open(file, 0o600, &bolt.Options{
		Timeout:        lockWait,
		NoFreelistSync: true, // rebuilt at open; saves a page write a commit
		FreelistType:   bolt.FreelistMapType,
	})
}

func recoverDamage(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", errUnreadable, r)
	}
}

func (d *DB) check() (err error) {
	defer recoverDamage(&err)
	return d.db.View(func(tx *bolt.Tx) error {
		var n int64
		cursor := tx.Bucket(entriesBucket).Cursor()
		for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
			if _, err := decode("", v); err != nil {
				return fmt.Errorf("%q: %w", k, err)
			}
			n++
		}
		d.count.Store(n)
		return nil
	})
}

// Close commits what is outstanding and releases the file.
func (d *DB) Close() error {
	close(d.stop)
	d.done.Wait()
	return d.db.Close()
}

// Len is the number of entries.
func (d *DB) Len() int64 { return d.count.Load() }

// Get returns the entry of key, or nil.
func (d *DB) Get(key string) (*entry.Base, error) {
	var e *entry.Base
	err := d.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket(entriesBucket).Get([]byte(key))
		if v == nil {
			return nil
		}
		found, err := decode(key, v)
		e = &found
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("base of %q: %w", key, err)
	}
	return e, nil
}

// Range yields the entries whose keys begin with prefix, in key order. It
// sees changes that are committed while it runs, or not.
func (d *DB) Range(prefix string) iter.Seq2[entry.Base, error] {
	return func(yield func(entry.Base, error) bool) {
		page := make([]entry.Base, 0, pageOf)
		from, skip := prefix, false
		for {
			page = page[:0]
			err := d.db.View(func(tx *bolt.Tx) error {
				cursor := tx.Bucket(entriesBucket).Cursor()
				k, v := cursor.Seek([]byte(from))
				if skip && string(k) == from {
					k, v = cursor.Next()
				}
				for ; k != nil && len(page) < pageOf && strings.HasPrefix(string(k), prefix); k, v = cursor.Next() {
					e, err := decode(string(k), v)
					if err != nil {
						return fmt.Errorf("base of %q: %w", k, err)
					}
					page = append(page, e)
				}
				return nil
			})
			if err != nil {
				yield(entry.Base{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			if len(page) < pageOf {
				return
			}
			from, skip = page[len(page)-1].Key, true
		}
	}
}

// Put records e. done is called once it is on disk, or could not be written,
// from another goroutine and possibly together with many others: changes that
// arrive while one commit is being written share the next.
func (d *DB) Put(e entry.Base, done func(error)) {
	d.submit(change{key: e.Key, record: encode(e), done: done})
}

// Delete drops key; done as in [DB.Put].
func (d *DB) Delete(key string, done func(error)) {
	d.submit(change{key: key, done: done})
}

var errClosed = errors.New("base is closed")

func (d *DB) submit(c change) {
	select {
	case d.changes <- c:
	case <-d.stop:
		c.done(errClosed)
	}
}

func (d *DB) commitLoop() {
	for {
		select {
		case first := <-d.changes:
			d.commit(d.gather(first))
		case <-d.stop:
			for {
				select {
				case first := <-d.changes:
					d.commit(d.gather(first))
				default:
					return
				}
			}
		}
	}
}

func (d *DB) gather(first change) []change {
	batch := []change{first}
	for len(batch) < maxBatch {
		select {
		case c := <-d.changes:
			batch = append(batch, c)
		default:
			return batch
		}
	}
	return batch
}

func (d *DB) commit(batch []change) {
	var delta int64
	err := d.db.Update(func(tx *bolt.Tx) error {
		delta = 0
		entries := tx.Bucket(entriesBucket)
		for _, c := range batch {
			key := []byte(c.key)
			exists := entries.Get(key) != nil
			var err error
			switch {
			case c.record != nil:
				if err = entries.Put(key, c.record); !exists {
					delta++
				}
			case exists:
				err = entries.Delete(key)
				delta--
			}
			if err != nil {
				return fmt.Errorf("record %q: %w", c.key, err)
			}
		}
		return nil
	})
	if err == nil {
		d.count.Add(delta)
	}
	for _, c := range batch {
		c.done(err)
	}
}

// Meta returns the value kept under name, "" if none.
func (d *DB) Meta(name string) (string, error) {
	var value string
	err := d.db.View(func(tx *bolt.Tx) error {
		value = string(tx.Bucket(metaBucket).Get([]byte(name)))
		return nil
	})
	return value, err
}

// SetMeta keeps value under name; it is on disk when SetMeta returns.
func (d *DB) SetMeta(name, value string) error {
	return d.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(metaBucket).Put([]byte(name), []byte(value))
	})
}

// Reset forgets everything: the next plan has an empty base. No change may be
// under way.
func (d *DB) Reset() error {
	err := d.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{entriesBucket, metaBucket} {
			if err := tx.DeleteBucket(name); err != nil {
				return err
			}
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reset base: %w", err)
	}
	d.count.Store(0)
	return nil
}
