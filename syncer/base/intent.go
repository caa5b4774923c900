package base

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// An upload whose answer never came, or whose process was killed, may have
// happened. Taken for somebody else's change, it would be a conflict with
// what the app has made of the file since, or a new file to download although
// the app has deleted it. So each upload is written down before it is sent,
// and crossed out when it is known what came of it. What is left tells which
// objects may be our own work.
//
// The list is a file that is appended to and never synced to disk: it has to
// outlive the process, not the machine, after whose crash the volume counts
// as another one and its base is begun anew.

const (
	intentsName = "uploads.log"
	// intentsMax is the size from which the file is written anew, without what
	// was crossed out, whenever it has doubled.
	intentsMax = 1 << 20
	// intentsEach is how many uploads of one key are kept. A store that reads
	// but cannot write, and does not say so plainly, makes for one more with
	// every change of the file. What an upload brought that was forgotten here
	// counts as somebody else's: nothing is lost of it, but it may come to a
	// conflict.
	intentsEach = 64
	// rewriteAgain is when the file is written anew after that has failed: it may
	// be long, and there is one more upload all the time.
	rewriteAgain = time.Second
)

// What a line of the file says.
const (
	intentBegins = 1
	intentEnds   = 2
)

// Intent is an upload of which it is not known whether it happened.
type Intent struct {
	// Entry is what is agreed on if it did, but for the ETag, which is empty.
	Entry entry.Base
	// At is when it began, or when a later process learnt of it.
	At time.Time
	id uint64
}

// intents are the uploads that were begun and not crossed out.
type intents struct {
	mu     sync.Mutex
	name   string
	file   *os.File // nil until something is to be written
	size   int64
	full   int64               // the size at which the file is written anew
	failed time.Time           // when that last did not work
	last   uint64              // the highest number given
	open   map[string][]Intent // by key, in the order in which they began
}

// loadIntents reads what a predecessor left in dir under that name. The end of a line that was
// being written when it was killed, and what follows it, is left out.
func loadIntents(dir, name string) (*intents, error) {
	l := &intents{name: filepath.Join(dir, name), open: map[string][]Intent{}}
	text, err := os.ReadFile(l.name)
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was begun: %w", err)
	}
	begun := map[uint64]entry.Base{}
	for {
		line, rest, ok := cutLine(text)
		if !ok {
			break
		}
		text = rest
		if line.what == intentEnds {
			delete(begun, line.id)
		} else {
			begun[line.id] = line.entry
		}
	}
	now := time.Now()
	for _, id := range slices.Sorted(maps.Keys(begun)) {
		e := begun[id]
		l.last = id
		l.open[e.Key] = append(l.open[e.Key], Intent{Entry: e, At: now, id: id})
	}
	if l.rewrite() != nil { // then the first upload tries again
		l.failed = now
	}
	return l, nil
}

// begin writes down that e is about to be uploaded. If that is written down
// already it has no number of its own: to cross it out would be to say of the
// earlier upload, too, that it did not happen.
//
// Where it cannot be written, this process knows it all the same. It is better
// that the upload happens: if this process is killed before there is room, what
// it brought counts as somebody else's, and nothing is lost of it.
func (l *intents) begin(e entry.Base) Intent {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := Intent{Entry: e, At: time.Now()}
	open := l.open[e.Key]
	for n := range open {
		if open[n].Entry == i.Entry {
			open[n].At = i.At
			return i
		}
	}
	if len(open) >= intentsEach {
		_ = l.append(endLine(open[0].id))
		l.open[e.Key] = slices.Delete(open, 0, 1)
	}
	l.last++
	i.id = l.last
	_ = l.append(beginLine(i))
	l.open[e.Key] = append(l.open[e.Key], i)
	return i
}

// end crosses out the uploads of key that match. If that cannot be written a
// successor looks at the key once more, which does no harm.
func (l *intents) end(key string, match func(Intent) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var left []Intent
	for _, i := range l.open[key] {
		if !match(i) {
			left = append(left, i)
			continue
		}
		_ = l.append(endLine(i.id))
	}
	if len(left) == 0 {
		delete(l.open, key)
	} else {
		l.open[key] = left
	}
}

func (l *intents) of(key string) []Intent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.open[key])
}

func (l *intents) keys() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.open))
}

func (l *intents) append(line []byte) error {
	if l.file == nil || l.size > l.full {
		if time.Since(l.failed) < rewriteAgain {
			return ErrUnwritable
		}
		if err := l.rewrite(); err != nil {
			l.failed = time.Now()
			return err
		}
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	if err != nil { // a part of a line would hide those after it
		l.size = l.full + 1
	}
	return err
}

// rewrite begins the file anew with what is open.
func (l *intents) rewrite() error {
	f, err := os.OpenFile(l.name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	var text []byte
	for _, list := range l.open {
		for _, i := range list {
			text = append(text, beginLine(i)...)
		}
	}
	if _, err = f.Write(text); err == nil {
		err = os.Rename(f.Name(), l.name)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if l.file != nil {
		_ = l.file.Close() // nothing is in it that is not in the new one
	}
	l.file, l.size = f, int64(len(text))
	l.full = max(intentsMax, 2*l.size)
	return nil
}

func (l *intents) reset() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.open)
	return l.rewrite()
}

func (l *intents) close() error {
	if l == nil {
		return nil // it could not be read
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// A line is its length and a CRC-32C, then what it says, the number of the
// upload, and of one that begins the key, preceded by its length, and the
// record.
type intentLine struct {
	what  byte
	id    uint64
	entry entry.Base
}

const lineHead = 4 + crc32.Size

func beginLine(i Intent) []byte {
	b := binary.AppendUvarint([]byte{intentBegins}, i.id)
	b = binary.AppendUvarint(b, uint64(len(i.Entry.Key)))
	b = append(b, i.Entry.Key...)
	return seal(append(b, encode(i.Entry)...))
}

func endLine(id uint64) []byte { return seal(binary.AppendUvarint([]byte{intentEnds}, id)) }

func seal(body []byte) []byte {
	line := binary.LittleEndian.AppendUint32(make([]byte, 0, lineHead+len(body)), uint32(len(body)))
	line = binary.LittleEndian.AppendUint32(line, crc32.Checksum(body, castagnoli))
	return append(line, body...)
}

func cutLine(text []byte) (line intentLine, rest []byte, ok bool) {
	if len(text) < lineHead {
		return line, nil, false
	}
	n, sum := binary.LittleEndian.Uint32(text), binary.LittleEndian.Uint32(text[4:])
	text = text[lineHead:]
	if uint64(n) > uint64(len(text)) || n == 0 || crc32.Checksum(text[:n], castagnoli) != sum {
		return line, nil, false
	}
	body, rest := text[:n], text[n:]
	r := reader{b: body[1:]}
	line.what, line.id = body[0], r.uvarint()
	if line.what == intentEnds {
		return line, rest, !r.bad
	}
	size := r.uvarint()
	if r.bad || line.what != intentBegins || size > uint64(len(r.b)) {
		return line, nil, false
	}
	e, err := decode(string(r.b[:size]), r.b[size:])
	line.entry = e
	return line, rest, err == nil
}

// Begin writes down that e, whose ETag is not known yet, is about to be
// uploaded. Until [DB.Settled] or [DB.Undone] crosses it out it is among the
// key's [DB.Intents], also for the processes to come.
func (d *DB) Begin(e entry.Base) Intent {
	e.ETag = ""
	return d.intents.begin(e)
}

// Undone crosses one upload out: it is certain that it did not happen.
func (d *DB) Undone(i Intent) {
	d.intents.end(i.Entry.Key, func(j Intent) bool { return j.id == i.id })
}

// Settled crosses out all uploads of key: what the bucket has is known, and in
// the base.
func (d *DB) Settled(key string) { d.intents.end(key, func(Intent) bool { return true }) }

// Intents are the uploads of key of which it is not known whether they happened.
func (d *DB) Intents(key string) []Intent { return d.intents.of(key) }

// IntentKeys are the keys that have any.
func (d *DB) IntentKeys() []string { return d.intents.keys() }
