package syncer

import (
	"slices"
	"strings"
	"sync"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
)

// unsentMax bounds the memory that is spent on telling renames from deletions
// while uploads fail. Of more files nothing is known: then the object under the
// old name goes as if the file had been deleted. To hold back every deletion
// instead would be worse: in a full store they may be what makes room.
const unsentMax = 100_000

// unsent are the files whose upload has failed. A rename keeps the inode: where
// one of them is what a deleted path was, the object under the old name is all
// that the bucket has of it, and stays until the new name is there.
type unsent struct {
	mu      sync.Mutex
	max     int
	files   map[string]unsentFile // by key
	byInode map[uint64]string     // the key of one
}

type unsentFile struct {
	inode uint64
	born  entry.Time
	olds  []string // keys whose deletion waits for this one
}

func newUnsent() *unsent {
	return &unsent{max: unsentMax, files: map[string]unsentFile{}, byInode: map[uint64]string{}}
}

func (u *unsent) note(key string, inode uint64, born entry.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	old, known := u.files[key]
	if !known && len(u.files) >= u.max {
		return
	}
	if known && old.inode != inode && u.byInode[old.inode] == key {
		delete(u.byInode, old.inode)
	}
	u.files[key] = unsentFile{inode, born, old.olds}
	u.byInode[inode] = key
}

// drop forgets key, and returns the keys that waited for it.
func (u *unsent) drop(key string) (olds []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f, ok := u.files[key]
	if !ok {
		return nil
	}
	delete(u.files, key)
	if u.byInode[f.inode] == key {
		delete(u.byInode, f.inode)
	}
	return f.olds
}

// nameNow returns what the file is called by now that b speaks of, "" if it is
// not one of these; then b's deletion waits for it. A file that was made after
// b was agreed on is another one, which got the inode of the deleted one.
func (u *unsent) nameNow(b entry.Base) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	key, ok := u.byInode[b.Local.Inode]
	if !ok || b.Local.Inode == 0 || key == b.Key {
		return ""
	}
	f := u.files[key]
	if b.Local.CTime.Before(f.born) {
		return ""
	}
	if !slices.Contains(f.olds, b.Key) {
		f.olds = append(f.olds, b.Key)
		u.files[key] = f
	}
	return key
}

// notSent notes that the upload of item has failed, or waits for what is in its
// way.
func (e *Engine) notSent(item plan.Item) {
	if item.Local.Inode == 0 {
		return
	}
	if item.Base != nil && item.Base.Local.Inode == item.Local.Inode {
		return // it always had this name
	}
	e.unsent.note(item.Key, item.Local.Inode, e.tree.Born(item.Key))
}

// sent says that the path has been dealt with, and lets those deletions go on
// that waited for it: where it is not in the bucket, as if they were new, since
// the file may have got another name.
func (e *Engine) sent(key string, arrived bool) {
	for _, old := range e.unsent.drop(key) {
		if !arrived || !e.dirty.Again(old) {
			e.dirty.Touch(old)
			e.dirty.Again(old)
		}
	}
}

// renamedTo is what the file is called by now that b speaks of, if that is a
// name that is not in the bucket yet, and "" otherwise.
func (e *Engine) renamedTo(b entry.Base) string {
	name := e.unsent.nameNow(b)
	if name == "" {
		return ""
	}
	if l, _, ok, err := e.tree.Lookup(name); err == nil && (!ok || l.Inode != b.Local.Inode) {
		e.sent(name, false) // it has gone, and no event said so; b is looked at again
		return name
	}
	if e.waitsForItself(b.Key, name) {
		return ""
	}
	return name
}

// tangleMax bounds how many files are followed that wait for each other.
const tangleMax = 100

// waitsForItself reports whether the object of key has to go before there is
// room for the name that its file has by now. It may be in the way itself; or in
// the way of another new name, of a file whose old one is in the way, and so on,
// as where a file and a folder change places. Of such a ring the first goes.
func (e *Engine) waitsForItself(key, name string) bool {
	for range tangleMax {
		if strings.HasPrefix(name, key+"/") || strings.HasPrefix(key, name+"/") {
			return true
		}
		b, err := e.inTheWay(name)
		if err != nil || b == nil || b.Key < key {
			return false
		}
		if name = e.unsent.nameNow(*b); name == "" {
			return false
		}
	}
	return false
}
