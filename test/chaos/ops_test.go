package chaos

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
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

// writing opens p, lets do write, and closes it.
func (a *app) writing(p string, flags int, how string, do func(*file) error) error {
	f, err := a.open(p, flags, how)
	defer f.close()
	if err != nil {
		return err
	}
	return do(f)
}

func (a *app) writeNew(p, how string, size int) error {
	if err := a.parents(p, how); err != nil {
		return err
	}
	return a.writing(p, os.O_TRUNC, how, func(f *file) error { return f.grow(size, max(a.chunk(), size/64)) })
}

func (a *app) writeFile() error {
	if files := a.of(record.File); len(files) > 0 && a.rng.IntN(2) == 0 {
		return a.writeNew(pick(a, files), "truncated and written", a.size())
	}
	p, err := a.newPath(fileNames(), false)
	if err != nil {
		return err
	}
	return a.writeNew(p, "written", a.size())
}

// existing is a file that is there, a new one if there is none.
func (a *app) existing(least int64) (string, error) {
	files := slices.DeleteFunc(a.of(record.File), func(p string) bool { return a.state(p).Size < least })
	if len(files) > 0 {
		return pick(a, files), nil
	}
	p, err := a.newPath(fileNames(), false)
	if err == nil {
		err = a.writeNew(p, "written", int(least)+a.size())
	}
	return p, err
}

func (a *app) appendFile() error {
	p, err := a.existing(0)
	if err != nil {
		return err
	}
	return a.writing(p, 0, "appended to", func(f *file) error { return f.grow(1+a.size()/4, a.chunk()) })
}

func (a *app) patchFile() error {
	p, err := a.existing(1)
	if err != nil {
		return err
	}
	return a.writing(p, 0, "changed in place", func(f *file) error { return a.patches(f, 1+a.rng.IntN(12)) })
}

func (a *app) patches(f *file, n int) error {
	for range n {
		if err := f.patch(); err != nil {
			return err
		}
		a.pause()
	}
	return nil
}

func (a *app) shortenFile() error {
	p, err := a.existing(1)
	if err != nil {
		return err
	}
	return a.writing(p, 0, "shortened", func(f *file) error { return f.shorten(a.rng.IntN(len(f.content.Bytes))) })
}

func (a *app) replaceFile() error {
	p, err := a.existing(0)
	if err != nil {
		return err
	}
	tmp := p + "~"
	if !a.free(tmp, false) && a.state(tmp).Kind != record.File {
		return errRoom
	}
	if err := a.writeNew(tmp, "written, to be renamed", a.size()); err != nil {
		return err
	}
	return a.rename(tmp, p, fmt.Sprintf("renamed from %q", tmp))
}

func (a *app) deleteFile() error {
	files := append(a.of(record.File), a.of(record.Link)...)
	if len(files) == 0 {
		return errRoom
	}
	return a.remove(pick(a, files), "deleted")
}

func (a *app) renameFile() error {
	from, err := a.existing(0)
	if err != nil {
		return err
	}
	to, err := a.newPath(fileNames(), false)
	if err != nil {
		return err
	}
	how := fmt.Sprintf("%q renamed to %q", from, to)
	if err := a.parents(to, how); err != nil {
		return err
	}
	if err := a.rename(from, to, how); err != nil || a.rng.IntN(3) > 0 {
		return err
	}
	a.pause()
	return a.writing(to, 0, "appended to after the rename", func(f *file) error { return f.grow(1+a.size()/4, a.chunk()) })
}

func (a *app) renameOver() error {
	from, err := a.existing(0)
	if err != nil {
		return err
	}
	to := pick(a, append(a.of(record.File), a.of(record.Link)...))
	if from == to {
		return errRoom
	}
	return a.rename(from, to, fmt.Sprintf("%q renamed over %q", from, to))
}

func (a *app) renameFolder() error {
	folders := a.of(record.Dir)
	if len(folders) == 0 {
		return errRoom
	}
	from := pick(a, folders)
	to, err := a.newPath(folderNames(), true)
	if err != nil || strings.HasPrefix(to, from+"/") || !a.mayMove(from, to) {
		return errRoom
	}
	how := fmt.Sprintf("folder %q renamed to %q", from, to)
	if err := a.parents(to, how); err != nil {
		return err
	}
	return a.rename(from, to, how)
}

// mayMove reports whether all that is in from may be below to.
func (a *app) mayMove(from, to string) bool {
	list := a.below(from)
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	for _, p := range list {
		if a.w.record.State(p).Kind == record.Dir && a.spoilt(to+p[len(from):]) {
			return false
		}
	}
	return true
}

func (a *app) deepFile() error {
	dir, err := a.newPath(folderNames(), true)
	if err != nil {
		return err
	}
	p := path.Join(dir, "deep", "er", pick(a, fileNames()))
	if !a.free(p, false) {
		return errRoom
	}
	return a.writeNew(p, "written in new folders", a.size())
}

func (a *app) emptyFolder() error {
	p, err := a.newPath(folderNames(), true)
	if err != nil {
		return err
	}
	if err := a.parents(p, "made"); err != nil {
		return err
	}
	return a.mkdir(p, "made")
}

func (a *app) removeFolder() error {
	empty := slices.DeleteFunc(a.of(record.Dir), func(p string) bool { return len(a.below(p)) > 0 })
	if len(empty) == 0 {
		return a.emptyFolder()
	}
	return a.remove(pick(a, empty), "removed")
}

func (a *app) removeTree() error {
	folders := slices.DeleteFunc(a.of(record.Dir), func(p string) bool { return len(a.below(p)) > 30 })
	if len(folders) == 0 {
		return errRoom
	}
	p := pick(a, folders)
	return a.removeAll(p, fmt.Sprintf("%q removed with all that is in it", p))
}

func (a *app) target() string {
	return pick(a, []string{"a", "../nowhere", "/etc/hostname", "dangling ü", ".", strings.Repeat("long/", 100)}) +
		fmt.Sprint(a.rng.IntN(1000))
}

func (a *app) makeLink() error {
	p, err := a.newPath([]string{"link", "läufer", "l i n k"}, false)
	if err != nil {
		return err
	}
	if err := a.parents(p, "linked"); err != nil {
		return err
	}
	return a.link(p, a.target(), "linked")
}

func (a *app) replaceLink() error {
	links := a.of(record.Link)
	if len(links) == 0 {
		return a.makeLink()
	}
	p := pick(a, links)
	tmp := p + "~"
	if a.rng.IntN(2) == 0 || !a.free(tmp, false) {
		if err := a.remove(p, "removed to be linked anew"); err != nil {
			return err
		}
		a.pause()
		return a.link(p, a.target(), "linked anew")
	}
	if err := a.link(tmp, a.target(), "linked, to be renamed"); err != nil {
		return err
	}
	a.pause()
	return a.rename(tmp, p, fmt.Sprintf("renamed from %q", tmp))
}

// swap makes a folder of a file, or the reverse.
func (a *app) swap() error {
	if a.rng.IntN(2) == 0 {
		folders := slices.DeleteFunc(a.of(record.Dir), func(p string) bool { return len(a.below(p)) > 10 })
		if len(folders) == 0 || a.w.versioned {
			return errRoom
		}
		p := pick(a, folders)
		if err := a.removeAll(p, "a folder, to become a file"); err != nil {
			return err
		}
		a.pause()
		return a.writeNew(p, "written where a folder was", a.size())
	}
	if a.w.versioned {
		return errRoom
	}
	p, err := a.existing(0)
	if err != nil {
		return err
	}
	if err := a.remove(p, "deleted, to become a folder"); err != nil {
		return err
	}
	a.pause()
	return a.writeNew(path.Join(p, pick(a, fileNames())), "written where a file was", a.size())
}

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
