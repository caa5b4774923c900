package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// TestPullIntoForeignFolders: what another writer brings cannot be written
// where somebody else's folder is in the way. A sync without rights names that,
// leaves what is there alone, takes it for nothing else, and goes on with all
// others; and when it may write there, all comes.
func TestPullIntoForeignFolders(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it starts processes as another user")
	}
	p := newPlace(t, testenv.MinIO(t))
	a, b := p.pod("a", nobody), p.pod("b", nobody)
	for _, path := range []string{"theirs/", "theirs/old", "theirs/gone", "ours/", "ours/old", "ours/gone"} {
		a.make(path, "an earlier state", 0o755, nobody)
	}
	a.start()
	a.run(contract.ExitOK, "flush")
	b.run(contract.ExitOK, "restore")
	b.start()
	p.must(os.Chown(b.at("theirs"), 0, 0))
	p.must(os.Chmod(b.at("theirs"), 0o755))

	for _, folder := range []string{"theirs", "ours"} {
		p.must(os.WriteFile(a.at(folder+"/old"), []byte("a new state"), 0o755))
		p.must(os.Remove(a.at(folder + "/gone")))
		a.make(folder+"/new", "new", 0o644, nobody)
		a.make(folder+"/deeper/", "", 0o755, nobody)
		a.make(folder+"/deeper/new", "new", 0o644, nobody)
	}
	a.run(contract.ExitOK, "flush")
	want := a.tree()
	only := func(tree map[string]string, folder string) map[string]string {
		part := map[string]string{}
		for path, what := range tree {
			if strings.HasPrefix(path, folder+"/") {
				part[path] = what
			}
		}
		return part
	}
	refused := map[string]bool{"theirs/old": true, "theirs/gone": true, "theirs/new": true, "theirs/deeper/new": true}
	b.await("aware of what it may not write", func(st status.Status) bool {
		found := map[string]bool{}
		for _, u := range st.UnsyncablePaths {
			found[u.Path] = strings.Contains(u.Reason, "permission")
		}
		return cmp.Equal(refused, found)
	})
	b.await("updated otherwise", func(status.Status) bool {
		return cmp.Equal(only(want, "ours"), only(b.tree(), "ours"))
	})
	const earlier = `-rwxr-xr-x "an earlier state"`
	if diff := cmp.Diff(map[string]string{"theirs/old": earlier, "theirs/gone": earlier}, only(b.tree(), "theirs")); diff != "" {
		t.Errorf("in somebody else's folder (- want, + got):\n%s", diff)
	}
	a.run(contract.ExitOK, "flush")
	if diff := cmp.Diff(want, a.tree()); diff != "" {
		t.Errorf("what one cannot write was taken for something else by the other (- want, + got):\n%s", diff)
	}

	p.must(os.Chown(b.at("theirs"), nobody, nobody))
	b.await("updated", func(st status.Status) bool { return st.Unsyncable == 0 && cmp.Equal(want, b.tree()) })
	a.stop(contract.ExitOK)
	b.stop(contract.ExitOK)
}

// TestRestoreIntoForeignFolders: a restore that may not write where it must
// fails with a sentence that names the path; nothing is in the app's way that
// is half there.
func TestRestoreIntoForeignFolders(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it starts processes as another user")
	}
	t.Parallel() // it tries for a while
	p := newPlace(t, testenv.MinIO(t))
	a, b := p.pod("a", nobody), p.pod("b", nobody)
	a.make("theirs/", "", 0o755, nobody)
	a.make("theirs/file", "content", 0o644, nobody)
	a.make("ours", "content", 0o644, nobody)
	a.start()
	a.stop(contract.ExitOK)
	b.make("theirs/", "", 0o755, 0)
	b.run(contract.ExitFailure, "restore")
	words, err := os.ReadFile(b.lastWords)
	p.must(err)
	for _, part := range []string{"restore: ", "theirs/file", "permission denied", "(exit code 1)"} {
		if !strings.Contains(string(words), part) {
			t.Errorf("the last words do not say %q: %s", part, words)
		}
	}
	want := a.tree()
	delete(want, "theirs/file")
	if diff := cmp.Diff(want, b.tree()); diff != "" {
		t.Errorf("in the volume (- want, + got):\n%s", diff)
	}
	p.must(os.Chown(b.at("theirs"), nobody, nobody))
	b.run(contract.ExitOK, "restore")
	if diff := cmp.Diff(a.tree(), b.tree()); diff != "" {
		t.Errorf("restored (- want, + got):\n%s", diff)
	}
}
