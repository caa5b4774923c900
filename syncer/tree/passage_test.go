package tree

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// TestPassagesNeedNoObject: a directory that is made for what will be in it is
// never seen as an empty one, and is one if that does not come.
func TestPassagesNeedNoObject(t *testing.T) {
	v, dir := openTest(t)
	check(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	p, _, err := v.parentFor("a/b/f")
	check(t, err)
	q, _, err := v.parentFor("a/b/g")
	check(t, err)
	needs := func(key string) bool {
		_, marked, ok, err := v.Lookup(key)
		check(t, err)
		if !ok {
			t.Errorf("%s is not there", key)
		}
		return marked
	}
	if needs("a") || needs("a/b") || !needs("empty") {
		t.Errorf("needs an object: a: %v, a/b: %v, empty: %v", needs("a"), needs("a/b"), needs("empty"))
	}
	if diff := cmp.Diff([]string{"empty/"}, keys(scan(t, v, ""))); diff != "" {
		t.Error("while they are passages (-want +got):", diff)
	}
	q.Close() // which made none of them
	if needs("a/b") {
		t.Error("who made nothing ended a passage")
	}
	p.Close()
	if needs("a") || !needs("a/b") {
		t.Errorf("later, needs an object: a: %v, a/b: %v", needs("a"), needs("a/b"))
	}
	if diff := cmp.Diff([]string{"a/b/", "empty/"}, keys(scan(t, v, ""))); diff != "" {
		t.Error("later (-want +got):", diff)
	}
	if n := len(v.passages.dirs); n > 0 {
		t.Error("passages are left:", n)
	}
}

// TestNoFolderIsSeenWhileFilesAreMade: whoever scans while a volume is filled
// sees files, and not the folders that they are in.
func TestNoFolderIsSeenWhileFilesAreMade(t *testing.T) {
	v, _ := openTest(t)
	done := make(chan struct{})
	var work sync.WaitGroup
	for i := range 3 {
		work.Go(func() {
			for n := range 200 {
				if _, err := commit(t, v, fmt.Sprintf("%d/%d/deep/er/f", i, n), "x", nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { work.Wait(); close(done) }()
	for {
		for l, err := range v.Scan(t.Context(), "") {
			check(t, err)
			if l.Kind == entry.Dir {
				t.Errorf("%s was seen as a folder that needs an object", l.Key)
				<-done
				return
			}
		}
		select {
		case <-done:
			return
		default:
		}
	}
}
