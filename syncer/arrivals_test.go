package syncer

import (
	"os"
	"slices"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
	"github.com/minio-sidecar/minio-sidecar/syncer/plan"
)

// TestKilledAsItArrives: a syncer is killed between giving what came from the
// bucket its path and the note of where it came from, and before it is back
// another pod deletes or changes it. It is not taken for the app's own, which
// would come back, or be a conflict.
func TestKilledAsItArrives(t *testing.T) {
	server := testenv.MinIO(t)
	for kind, c := range map[string]struct {
		key  string
		make func(n *node)
	}{
		"file":   {"d/f", func(n *node) { n.write("d/f", "from elsewhere") }},
		"link":   {"d/l", func(n *node) { n.do(os.Symlink("nowhere", n.path("d/l"))) }},
		"folder": {"d/e/", func(n *node) { n.do(os.Mkdir(n.path("d/e"), 0o750)) }},
	} {
		for then, change := range map[string]func(n *node){
			"deleted": func(n *node) { n.do(os.RemoveAll(n.path(c.key))) },
			"changed": func(n *node) {
				n.do(os.RemoveAll(n.path(c.key)))
				n.write(entry.Path(c.key), "another")
			},
			"left alone": func(*node) {},
		} {
			for _, again := range []string{"sync", "restore"} {
				t.Run(kind+" "+then+", "+again, func(t *testing.T) {
					t.Parallel()
					r := newRig(t, server)
					a := r.node(t)
					a.start()
					a.write("d/stays", "in both")
					a.flush()
					b := r.node(t)
					b.restore()

					c.make(a)
					a.flush()
					b.place(c.key)
					b.shut() // killed: nobody has written down what it is
					change(a)
					a.flush()

					if again == "restore" {
						b.restore()
					}
					b.start()
					b.flush()
					a.mustStop()
					b.mustStop()
					b.equals(a)
					want := []string{"d/", "d/stays", entry.Path(c.key)}
					if then == "deleted" {
						want = want[:2]
					}
					for path := range b.listing() {
						if !slices.Contains(want, path) && !slices.Contains(want, path+"/") {
							t.Errorf("the volume has %s", path)
						}
					}
				})
			}
		}
	}
}

// place gives the object of key its path, as a download does, and goes no further.
func (n *node) place(key string) {
	n.t.Helper()
	e := n.open()
	n.do(e.prepareBase())
	obj, err := e.store.Stat(n.t.Context(), n.config.Prefix+key)
	n.do(err)
	remote := e.remote(obj)
	_, _, err = e.fetch(n.t.Context(), plan.Item{Key: key, Remote: &remote}, entry.Path(key), nil)
	n.do(err)
}
