package chaos

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

// Bounds on what the app keeps in its volume.
const (
	maxBytes = 48 << 20
	maxPaths = 120
)

// app is the one that writes into the volume. It makes one system call at a
// time, and the record learns of each before the next.
type app struct {
	w    *world
	dir  string
	rng  *rand.Rand
	ops  []operation // what it does
	last int         // number of the last write
}

// errRoom ends an operation for which there is no room, or no permission.
var errRoom = errors.New("the volume does not take it")

// op does one operation, chosen at random.
func (a *app) op() {
	a.w.t.Helper()
	o := a.choose()
	a.w.count("operations")
	err := o.do(a)
	switch {
	case err == nil, errors.Is(err, errRoom):
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		a.w.note(fmt.Sprintf("%s: %v", o.name, err))
	default:
		a.robbed()
		a.w.fatal(fmt.Sprintf("the app could not %s: %v", o.name, err))
	}
	a.pause()
}

// robbed fails if the syncer has taken something from the volume that nobody
// else could have taken: what the app then cannot do follows from that.
func (a *app) robbed() {
	a.w.t.Helper()
	a.w.node.kill()
	found, err := survey(a.dir)
	if err != nil {
		return
	}
	a.w.mu.Lock()
	list := a.w.record.Equal(found)
	a.w.mu.Unlock()
	a.w.demand("the volume is not what the app made of it, while it works", list, a.dir)
}

// pause is what an app does between two system calls: mostly nothing.
func (a *app) pause() {
	if p := a.rng.IntN(100); p < 60 {
		return
	} else if p < 85 {
		a.sleep(0, 5)
	} else if p < 97 {
		a.sleep(5, 30)
	} else {
		a.sleep(30, 100)
	}
}

func (a *app) sleep(from, to int) {
	time.Sleep(time.Duration(from)*time.Millisecond + time.Duration(a.rng.Int64N(int64(to-from)*int64(time.Millisecond))))
}

func (a *app) at(p string) string { return filepath.Join(a.dir, p) }

// step does one system call and records what came of it, as one.
func (a *app) step(do func(*record.Record) error) error {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	return do(a.w.record)
}

func (a *app) was(r *record.Record, p string, s record.State, how string) {
	r.Was(a.w.since(), p, s, how)
	a.w.touched(p)
}

// looks records what p looks like, with the content that it is known to have.
func (a *app) looks(r *record.Record, p string, size int64, sum record.Sum, how string) error {
	s, err := lstat(a.at(p))
	s.Size, s.Sum = size, sum
	a.was(r, p, s, how)
	return err
}

// file is a file that is open for writing, and what is in it.
type file struct {
	a       *app
	f       *os.File
	path    string
	how     string
	content *record.Content
}

// open opens p, made if missing and empty if flags say so.
func (a *app) open(p string, flags int, how string) (*file, error) {
	f := &file{a: a, path: p, how: how}
	err := a.step(func(r *record.Record) error {
		var before []byte
		known := r.State(p).Kind == record.File
		if known {
			var err error
			if before, err = os.ReadFile(a.at(p)); err != nil {
				return err
			}
		}
		var err error
		if f.f, err = os.OpenFile(a.at(p), os.O_RDWR|os.O_CREATE|flags, 0o644); err != nil {
			return err
		}
		f.content = record.NewContent(before)
		if known && flags&os.O_TRUNC == 0 {
			return nil // nothing happened yet
		}
		if known {
			f.cut(r, 0)
			return nil
		}
		return f.now(r)
	})
	return f, err
}

// now records the present state.
func (f *file) now(r *record.Record) error {
	return f.a.looks(r, f.path, int64(len(f.content.Bytes)), f.content.Sum(), f.how)
}

// stamped records that the kernel stamps a file before it changes it: for a
// moment the content is the old one with the new times.
func (f *file) stamped(r *record.Record) { _ = f.now(r) }

// grow appends size bytes in chunks. A longer write can be seen half done, by
// its pages.
func (f *file) grow(size, chunk int) error {
	f.a.last++
	for size > 0 {
		b := make([]byte, min(size, chunk))
		at := len(f.content.Bytes)
		record.Fill(b, f.a.last, int64(at))
		err := f.a.step(func(r *record.Record) error {
			// Not WriteAt, which forgets what it has written when the rest fails.
			n, err := syscall.Pwrite(int(f.f.Fd()), b, int64(at))
			f.stamped(r)
			for done := 0; done < n; {
				k := min(record.Page-(at+done)%record.Page, n-done)
				f.content.WriteAt(b[done:done+k], at+done)
				done += k
				_ = f.now(r)
			}
			return err
		})
		if err != nil {
			return err
		}
		size -= len(f.content.Bytes) - at
		f.a.pause()
	}
	return nil
}

// patch overwrites a part of one page.
func (f *file) patch() error {
	f.a.last++
	size := len(f.content.Bytes)
	page := f.a.rng.IntN((size + record.Page - 1) / record.Page)
	room := min(record.Page, size-page*record.Page)
	from := 0
	if f.a.rng.IntN(2) == 0 {
		from = f.a.rng.IntN(room)
	}
	at := page*record.Page + from
	b := make([]byte, 1+f.a.rng.IntN(room-from))
	record.Fill(b, f.a.last, int64(at))
	return f.a.step(func(r *record.Record) error {
		n, err := syscall.Pwrite(int(f.f.Fd()), b, int64(at))
		f.stamped(r)
		if n > 0 {
			f.content.WriteAt(b[:n], at)
			_ = f.now(r)
		}
		return err
	})
}

// shorten cuts the file off.
func (f *file) shorten(size int) error {
	return f.a.step(func(r *record.Record) error {
		if err := f.f.Truncate(int64(size)); err != nil {
			return err
		}
		f.cut(r, size)
		return nil
	})
}

// cut records that the kernel has made the file shorter. Both can be seen for a
// moment: the old size with the new times, and the new size with the old ones.
func (f *file) cut(r *record.Record, size int) {
	old := r.State(f.path)
	f.stamped(r)
	f.content = record.NewContent(f.content.Bytes[:size])
	f.a.was(r, f.path, record.State{Kind: record.File, Perm: old.Perm, MTime: old.MTime,
		Size: int64(size), Sum: f.content.Sum()}, f.how)
	_ = f.now(r)
}

func (f *file) close() {
	if f.f != nil {
		f.f.Close()
	}
}

// remove removes a file, a link or an empty folder.
func (a *app) remove(p, how string) error {
	return a.step(func(r *record.Record) error {
		if err := os.Remove(a.at(p)); err != nil {
			return err
		}
		a.was(r, p, record.State{}, how)
		return nil
	})
}

// removeAll removes p and all that is in it, one after the other.
func (a *app) removeAll(p, how string) error {
	list := a.below(p)
	for i := len(list) - 1; i >= 0; i-- {
		if err := a.remove(list[i], how); err != nil {
			return err
		}
		a.pause()
	}
	return a.remove(p, how)
}

// mkdir makes one folder.
func (a *app) mkdir(p, how string) error {
	return a.step(func(r *record.Record) error {
		if err := os.Mkdir(a.at(p), 0o755); err != nil {
			return err
		}
		return a.looks(r, p, 0, record.Sum{}, how)
	})
}

// parents makes the folders above p that are missing.
func (a *app) parents(p, how string) error {
	dir := path.Dir(p)
	if dir == "." || a.state(dir).Kind == record.Dir {
		return nil
	}
	if err := a.parents(dir, how); err != nil {
		return err
	}
	return a.mkdir(dir, how)
}

// rename renames a file, a link, or a folder with all that is in it.
func (a *app) rename(from, to, how string) error {
	return a.step(func(r *record.Record) error {
		if err := os.Rename(a.at(from), a.at(to)); err != nil {
			return err
		}
		for _, p := range append(r.Below(from), from) {
			r.Moved(a.w.since(), p, to+p[len(from):], how)
			a.w.touched(p)
			a.w.touched(to + p[len(from):])
		}
		return nil
	})
}

func (a *app) link(p, target, how string) error {
	return a.step(func(r *record.Record) error {
		if err := os.Symlink(target, a.at(p)); err != nil {
			return err
		}
		return a.looks(r, p, int64(len(target)), record.SumOf([]byte(target)), how)
	})
}

// dress changes attributes by what change does.
func (a *app) dress(p, how string, change func(string) error) error {
	return a.step(func(r *record.Record) error {
		s := r.State(p)
		if err := change(a.at(p)); err != nil {
			return err
		}
		return a.looks(r, p, s.Size, s.Sum, how)
	})
}

func (a *app) state(p string) record.State {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	return a.w.record.State(p)
}

func (a *app) below(p string) []string {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	return a.w.record.Below(p)
}
