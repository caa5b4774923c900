package chaos

import (
	"fmt"
	"os"
	"slices"

	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

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
