package chaos

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

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
