package chaos

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

// operation is something that apps do.
type operation struct {
	name   string
	weight int
	do     func(*app) error
}

func operations() []operation {
	return []operation{
		{"write a file", 18, (*app).writeFile},
		{"append to a file", 8, (*app).appendFile},
		{"change a file in place", 9, (*app).patchFile},
		{"shorten a file", 2, (*app).shortenFile},
		{"replace a file by rename", 10, (*app).replaceFile},
		{"delete a file", 8, (*app).deleteFile},
		{"rename a file", 6, (*app).renameFile},
		{"rename a file over another", 3, (*app).renameOver},
		{"rename a folder", 4, (*app).renameFolder},
		{"make folders and a file", 4, (*app).deepFile},
		{"make an empty folder", 3, (*app).emptyFolder},
		{"remove an empty folder", 3, (*app).removeFolder},
		{"remove a folder with all that is in it", 2, (*app).removeTree},
		{"make a link", 3, (*app).makeLink},
		{"replace a link", 2, (*app).replaceLink},
		{"swap a file and a folder", 3, (*app).swap},
		{"change a mode", 3, (*app).chmod},
		{"change a folder's mode", 1, (*app).chmodFolder},
		{"change a time", 2, (*app).touch},
		{"write a large file", 2, (*app).largeFile},
		{"make many small files", 1, (*app).burst},
		{"fill the volume", 1, (*app).fill},
	}
}

// choose picks the next operation, one that makes room when there is too much.
func (a *app) choose() operation {
	if bytes, paths := a.weight(); bytes > maxBytes || paths > maxPaths {
		return operation{"make room", 0, (*app).makeRoom}
	}
	list := a.ops
	total := 0
	for _, o := range list {
		total += o.weight
	}
	n := a.rng.IntN(total)
	for _, o := range list {
		if n -= o.weight; n < 0 {
			return o
		}
	}
	panic("weights do not add up")
}

func (a *app) weight() (bytes int64, paths int) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	list := a.w.record.Paths()
	for _, p := range list {
		bytes += a.w.record.State(p).Size
	}
	return bytes, len(list)
}

// of are the paths of that kind, in order.
func (a *app) of(k record.Kind) []string {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	return slices.DeleteFunc(a.w.record.Paths(), func(p string) bool { return a.w.record.State(p).Kind != k })
}

func pick[T any](a *app, list []T) T { return list[a.rng.IntN(len(list))] }

// Names that have been somebody's trouble. Those of folders and of files are
// apart: only swap gives one name to both.
func fileNames() []string {
	return []string{
		"a", "b.txt", "log", "data.bin", "with space", " leading", "trailing ", "100%", "%41+b", "p+lus&and=more",
		"quote'\"s", "-dash", ".hidden", "ü.txt", "u\u0308.txt", "日本語", "semi;colon", "hash#tag?", "~", "(x)[y]{z}",
	}
}

func folderNames() []string {
	return []string{"d", "e", "mit Leerzeichen", "ünï cödé", "50%+", "-v", "d.d", "a b/c d/e", "x/y"}
}

// newPath is where nothing is, in a folder that is there or can be made.
func (a *app) newPath(names []string, forFolder bool) (string, error) {
	folders := append(a.of(record.Dir), "", "", "")
	for range 50 {
		dir := pick(a, folders)
		if a.rng.IntN(4) == 0 {
			dir = path.Join(dir, pick(a, folderNames()))
		}
		p := path.Join(dir, pick(a, names))
		if a.rng.IntN(3) == 0 {
			p += fmt.Sprint(a.rng.IntN(10))
		}
		if len(p) < 200 && a.free(p, forFolder) {
			return p, nil
		}
	}
	return "", errRoom
}

// free reports whether p can be made, as a folder or not.
func (a *app) free(p string, asFolder bool) bool {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	r := a.w.record
	if r.State(p).Kind != record.Absent || asFolder && a.spoilt(p) {
		return false
	}
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if k := r.State(dir).Kind; k != record.Dir && (k != record.Absent || a.spoilt(dir)) {
			return false
		}
	}
	return true
}

// spoilt reports whether a folder of that name could not be listed: MinIO does
// not list what is below a name that an object, or its delete marker, has. In
// a bucket with versions the marker stays.
func (a *app) spoilt(p string) bool {
	r := a.w.record
	return a.w.versioned && (r.EverWas(p, record.File) || r.EverWas(p, record.Link))
}

// size is that of an ordinary file: often empty, often around a page's end.
func (a *app) size() int {
	switch a.rng.IntN(10) {
	case 0:
		return 0
	case 1, 2, 3:
		return 1 + a.rng.IntN(300)
	case 4:
		return record.Page - 2 + a.rng.IntN(5)
	case 5, 6, 7:
		return a.rng.IntN(20_000)
	}
	return a.rng.IntN(300_000)
}

func (a *app) chunk() int { return []int{512, record.Page, 5000, 64 << 10}[a.rng.IntN(4)] }

func (a *app) chmod() error {
	p, err := a.existing(0)
	if err != nil {
		return err
	}
	mode := pick(a, []os.FileMode{0o600, 0o640, 0o644, 0o755, 0o444})
	return a.dress(p, fmt.Sprintf("mode %o", mode), func(name string) error { return os.Chmod(name, mode) })
}

func (a *app) chmodFolder() error {
	folders := a.of(record.Dir)
	if len(folders) == 0 {
		return errRoom
	}
	mode := pick(a, []os.FileMode{0o700, 0o750, 0o755, 0o775})
	return a.dress(pick(a, folders), fmt.Sprintf("mode %o", mode), func(name string) error { return os.Chmod(name, mode) })
}

func (a *app) touch() error {
	p, err := a.existing(0)
	if err != nil {
		return err
	}
	const decades = 60 * 365 * 24 * int64(time.Hour)
	when := time.Now().Add(-time.Duration(a.rng.Int64N(decades)))
	return a.dress(p, "time set", func(name string) error { return os.Chtimes(name, when, when) })
}

// largeFile writes a file that travels in parts and then, often, goes on
// changing it while it travels.
func (a *app) largeFile() error {
	p, err := a.newPath([]string{"large", "large.tar"}, false)
	if err != nil {
		return err
	}
	if err := a.parents(p, "written"); err != nil {
		return err
	}
	size := 10<<20 + a.rng.IntN(14<<20)
	return a.writing(p, os.O_TRUNC, "written, large", func(f *file) error {
		if err := f.grow(size, 1<<20); err != nil || a.rng.IntN(3) == 0 {
			return err
		}
		f.how = "changed in place, large"
		for range 1 + a.rng.IntN(4) {
			a.sleep(20, 250)
			if err := a.patches(f, 1+a.rng.IntN(10)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) burst() error {
	dir, err := a.newPath([]string{"burst"}, true)
	if err != nil {
		return err
	}
	for i := range 10 + a.rng.IntN(20) {
		p := path.Join(dir, fmt.Sprint(i))
		if !a.free(p, false) {
			continue
		}
		if err := a.writeNew(p, "written, one of many", a.rng.IntN(2000)); err != nil {
			return err
		}
	}
	return nil
}

// fill leaves no room for a while, where that harms nobody else.
func (a *app) fill() error {
	p := "ballast"
	if !a.w.node.small || !a.free(p, false) {
		return errRoom
	}
	err := a.writing(p, os.O_TRUNC, "filling the volume", func(f *file) error { return f.grow(2*maxBytes, 1<<20) })
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	for _, o := range operations()[:5] {
		if err := o.do(a); err != nil && !errors.Is(err, errRoom) && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	return a.remove(p, "no more filling the volume")
}

// makeRoom deletes the largest files, and some others.
func (a *app) makeRoom() error {
	files := a.of(record.File)
	slices.SortFunc(files, func(p, q string) int { return int(a.state(q).Size - a.state(p).Size) })
	for i, p := range files {
		if i >= 3 && a.rng.IntN(4) > 0 {
			continue
		}
		if err := a.remove(p, "deleted to make room"); err != nil {
			return err
		}
		a.pause()
	}
	return nil
}
