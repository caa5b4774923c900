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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

var (
	// ErrInUse: another process has this base open.
	ErrInUse = errors.New("in use by another syncer")
	// ErrUnwritable: what was to be recorded could not be written, for want of
	// room or for whatever reason the error adds.
	ErrUnwritable = errors.New("the state volume cannot be written")
)

var (
	entriesBucket = []byte("entries")
	metaBucket    = []byte("meta")
)

const (
	fileName = "base.db"
	// lockWait is how long Open waits for a predecessor that is just ending.
	lockWait = 5 * time.Second
	// pageOf is how many records a read transaction covers at most: bbolt
	// cannot reuse pages while one is open, so a scan must not hold it
	// throughout. The first covers firstPageOf, since many callers want no more
	// than the first record.
	pageOf      = 512
	firstPageOf = 8
	// fill is how much of a page is used before it is split. bbolt's default of
	// a half is meant for keys in random order; most of ours come in key order,
	// from scans and listings, and no page is ever gone back to.
	fill = 0.9
	// maxBatch bounds one commit.
	maxBatch = 4096
)

// DB is the base of one volume and one prefix. It is safe for concurrent use.
type DB struct {
	db    *bolt.DB
	lock  *os.File
	dir   string
	count atomic.Int64
	// intents and arrivals are kept apart: they come before every transfer, so
	// they are not to wait for the disk.
	intents, arrivals *intents
	// PutAside is where a damaged predecessor was moved to; empty if none was.
	PutAside string

	mu      sync.RWMutex // held for reading while submitting
	closed  bool
	changes chan change
	done    sync.WaitGroup
}

type change struct {
	key    string
	record []byte // nil: delete
	done   func(error)
}

// Open opens or creates the base in dir. A file that is damaged is renamed to
// base.db.damaged and a new one begun; [ErrInUse] if another process holds it.
func Open(dir string) (*DB, error) { return open(dir, lockWait) }

func open(dir string, wait time.Duration) (*DB, error) {
	file := filepath.Join(dir, fileName)
	held, err := lock(dir, wait)
	if errors.Is(err, ErrInUse) {
		return nil, fmt.Errorf("open base %s: %w; end it, or give this one another --state-dir", file, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open base %s: %w", file, err)
	}
	d := &DB{lock: held, dir: dir, changes: make(chan change, maxBatch)}
	if d.intents, err = loadIntents(dir, intentsName); err == nil {
		d.arrivals, err = loadIntents(dir, arrivalsName)
	}
	if err == nil {
		err = d.load(file)
	}
	if damaged(err) {
		d.PutAside = file + ".damaged"
		if err = os.Rename(file, d.PutAside); err == nil {
			err = d.load(file)
		}
	}
	if err != nil {
		err = fmt.Errorf("open base %s: %w", file, err)
		return nil, errors.Join(err, d.intents.close(), d.arrivals.close(), held.Close())
	}
	d.done.Go(d.commitLoop)
	return d, nil
}

func damaged(err error) bool {
	return errors.Is(err, errUnsound) || errors.Is(err, errRecord) ||
		errors.Is(err, berrors.ErrIncompatibleValue) // one of our buckets is a plain value
}

// load opens the file, made if there is none, and reads every record once:
// that counts them, and finds damage here rather than in the middle of a plan.
func (d *DB) load(file string) (err error) {
	if err := soundFile(file); err != nil {
		return err
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{
		Timeout: lockPoll, // nobody else can have it: we hold the directory
		// The list of free pages is made at open of what is not in use: that
		// saves a page write a commit, and a damaged list cannot exist.
		// The base has to outlive the process, not the machine: after a reboot
		// the volume counts as another one, and its base is begun anew. Waiting
		// for the disk would cost each upload, and wear out memory cards.
		NoSync:         true,
		NoFreelistSync: true,
		FreelistType:   bolt.FreelistMapType,
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	if err := makeBuckets(db); err != nil {
		return err
	}
	d.db = db
	var n int64
	for _, err := range d.Range("") {
		if err != nil {
			return err
		}
		n++
	}
	d.count.Store(n)
	return nil
}

// makeBuckets writes only where something is missing: a damaged file is left
// as it was found.
func makeBuckets(db *bolt.DB) error {
	for _, name := range [][]byte{entriesBucket, metaBucket} {
		exists := false
		err := db.View(func(tx *bolt.Tx) error {
			exists = tx.Bucket(name) != nil
			return nil
		})
		if err == nil && !exists {
			err = db.Update(func(tx *bolt.Tx) error {
				_, err := tx.CreateBucket(name)
				return err
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Close commits what is outstanding and releases the file.
func (d *DB) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.changes)
	d.mu.Unlock()
	d.done.Wait()
	return errors.Join(d.db.Close(), d.intents.close(), d.arrivals.close(), d.lock.Close())
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
		var page []entry.Base
		from, skip, read := prefix, false, 0
		for size := firstPageOf; ; size = min(4*size, pageOf) {
			page = slices.Grow(page[:0], size)
			err := d.db.View(func(tx *bolt.Tx) error {
				cursor := tx.Bucket(entriesBucket).Cursor()
				k, v := cursor.Seek([]byte(from))
				if skip && string(k) == from {
					k, v = cursor.Next()
				}
				for ; k != nil && len(page) < size && strings.HasPrefix(string(k), prefix); k, v = cursor.Next() {
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
			if read += len(page); read >= residentRecords || len(page) < size && read > pageOf {
				d.letGo()
				read = 0
			}
			if len(page) < size {
				return
			}
			from, skip = page[len(page)-1].Key, true
		}
	}
}

// Put records e. done is called once it is written, or could not be,
// usually from another goroutine and together with many others: changes that
// arrive while one commit is being written share the next. done must not make
// a change itself.
func (d *DB) Put(e entry.Base, done func(error)) {
	d.submit(change{key: e.Key, record: encode(e), done: done})
}

// Delete drops key; done as in [DB.Put].
func (d *DB) Delete(key string, done func(error)) {
	d.submit(change{key: key, done: done})
}

var (
	errClosed = errors.New("base is closed")
	errKey    = errors.New("key is empty or too long")
)

func (d *DB) submit(c change) {
	if c.key == "" || len(c.key) > bolt.MaxKeySize {
		c.done(errKey) // it would spoil the commit for the others
		return
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		c.done(errClosed)
		return
	}
	d.changes <- c
}

func (d *DB) commitLoop() {
	written := 0
	for first := range d.changes {
		batch := d.gather(first)
		d.commit(batch)
		if written += len(batch); written >= residentRecords {
			d.letGo()
			written = 0
		}
	}
}

func (d *DB) gather(first change) []change {
	batch := []change{first}
	for len(batch) < maxBatch {
		select {
		case c, open := <-d.changes:
			if !open {
				return batch
			}
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
		entries.FillPercent = fill
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
	} else {
		err = fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	for _, c := range batch {
		c.done(err)
	}
}

// roomy is more than a commit takes in the usual case.
const roomy = 128 << 10

// Writable finds out whether there is room again for what could not be written,
// without a change: [ErrUnwritable] if not.
func (d *DB) Writable() error {
	name := filepath.Join(d.dir, "room")
	err := os.WriteFile(name, make([]byte, roomy), 0o600)
	if removed := os.Remove(name); err == nil {
		err = removed
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	return nil
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

// SetMeta keeps value under name; it is written when SetMeta returns.
func (d *DB) SetMeta(name, value string) error {
	return d.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(metaBucket).Put([]byte(name), []byte(value))
	})
}

// Reset forgets everything: the next plan has an empty base. No change or
// upload may be under way.
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
	if err == nil {
		err = errors.Join(d.intents.reset(), d.arrivals.reset())
	}
	if err != nil {
		return fmt.Errorf("reset base: %w", err)
	}
	d.count.Store(0)
	return nil
}
