package tree

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

func TestRemove(t *testing.T) {
	everyKernel(t, func(t *testing.T, v *Tree, dir string) {
		write(t, dir, "f", "x", "d/e/", "", "full/f", "x")
		check(t, os.Symlink("full", dir+"/link"))
		folder := entry.Fingerprint{Kind: entry.Dir}
		f := lookup(t, v, "f").Fingerprint
		check(t, v.Remove("f", f))
		check(t, v.Remove("f", f)) // gone already
		check(t, v.Remove("none/none", f))
		check(t, v.Remove("link/f", f)) // nothing is there: links are not traversed
		wantErr(t, v.Remove("full/", folder), ErrNotEmpty)
		wantErr(t, v.Remove("full/f", f), ErrChanged)
		wantErr(t, v.Remove("full", f), ErrChanged)
		wantErr(t, v.Remove("full/f/", folder), ErrChanged)
		wantErr(t, v.Remove("link/", folder), ErrChanged)
		check(t, v.Remove("d/e/", folder))
		check(t, v.Remove("link", lookup(t, v, "link").Fingerprint))
		if content(t, dir+"/full/f") != "x" {
			t.Error("the link was followed")
		}
		wantErr(t, v.Remove("../x", f), ErrInvalidKey)
		wantErr(t, v.Remove(".minio-sidecar/volume", f), ErrInvalidKey)
	})
}

func TestPruneParents(t *testing.T) {
	v, dir := openTest(t)
	write(t, dir, "a/b/c/d/", "", "a/f", "", "k/l/m/", "")
	var asked []string
	never := func(key string) bool { asked = append(asked, key); return false }
	check(t, v.PruneParents("a/b/c/d/gone", never))
	if got := keys(scan(t, v, "a/")); len(got) != 1 || got[0] != "a/f" {
		t.Errorf("left %q", got)
	}
	if want := "a/b/c/d/ a/b/c/ a/b/ a/"; strings.Join(asked, " ") != want {
		t.Errorf("asked for %q", asked)
	}
	check(t, v.PruneParents("k/l/m/gone", func(key string) bool { return key == "k/l/" }))
	if got := keys(scan(t, v, "k/")); len(got) != 1 || got[0] != "k/l/" {
		t.Errorf("left %q", got)
	}
	check(t, v.PruneParents("top", never))
	check(t, v.PruneParents("no/such/folder", never))
}

func TestMoveAside(t *testing.T) {
	everyKernel(t, func(t *testing.T, v *Tree, dir string) {
		write(t, dir, "f", "x", "taken", "y", "d/in/f", "z")
		l, err := v.MoveAside("f", "new/g")
		check(t, err)
		if l != lookup(t, v, "new/g") || content(t, dir+"/new/g") != "x" {
			t.Errorf("got %+v", l)
		}
		_, err = v.MoveAside("new/g", "taken")
		wantErr(t, err, ErrChanged)
		_, err = v.MoveAside("none", "free")
		wantErr(t, err, ErrChanged)
		_, err = v.MoveAside("none/none", "free")
		wantErr(t, err, ErrChanged)
		_, err = v.MoveAside("new/g", "taken/x")
		wantErr(t, err, ErrBlocked)
		if l, err = v.MoveAside("d", "e"); err != nil || l.Key != "e/" || content(t, dir+"/e/in/f") != "z" {
			t.Errorf("folder: %+v %v", l, err)
		}
		if _, err := v.MoveAside("e", "e/in/e"); err == nil {
			t.Error("a folder was moved into itself")
		}
		if content(t, dir+"/taken") != "y" || content(t, dir+"/new/g") != "x" {
			t.Error("something was overwritten")
		}
	})
}

// Commits and prunings that meet in one folder do not fail each other.
func TestParentsVanishWhileWriting(t *testing.T) {
	v, _ := openTest(t)
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range 300 {
				path := fmt.Sprintf("a/b/c/f%d", w)
				p, err := v.Create(0)
				if err != nil {
					t.Error(err)
					return
				}
				l, err := p.Commit(path, v.Defaults(), nil)
				if err != nil {
					t.Errorf("round %d: %v", i, err)
					p.Discard()
					return
				}
				err = errors.Join(v.Remove(path, l.Fingerprint), v.PruneParents(path, func(string) bool { return false }))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
}
