package interop

import (
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// What others write is what we restore: contents, and all attributes that they
// wrote. What they leave out, differs says.
func TestWeReadOthers(t *testing.T) {
	server := testenv.MinIO(t)
	// None of them writes the mode of a folder.
	usualFolders := func(want map[string]entry) {
		e := want["private"]
		e.Mode = fs.ModeDir | 0o755
		want["private"] = e
	}
	noFolders := func(want map[string]entry) { // that are empty
		usualFolders(want)
		maps.DeleteFunc(want, func(name string, _ entry) bool { return name == "void" || strings.HasPrefix(name, "void/") })
	}
	noLinks := func(want map[string]entry) {
		delete(want, "link")
		delete(want, "dangling")
	}
	for _, tt := range []struct {
		name    string
		write   func(n *node)
		differs func(want map[string]entry)
	}{
		{
			name: "mc mirror -a", write: func(n *node) { n.mc("mirror", "-a", n.volume, n.mcRemote()) },
			differs: func(want map[string]entry) {
				noFolders(want)
				delete(want, "dangling")
				want["link"] = want["a/b/c/deep.txt"] // links are followed
			},
		},
		{
			name: "rclone copy -M", write: func(n *node) { n.rclone("copy", "-M", n.volume, n.remote()) },
			differs: func(want map[string]entry) { noFolders(want); noLinks(want) },
		},
		{
			name: "rclone copy -M with folders", write: func(n *node) {
				n.rclone("copy", "-M", "--create-empty-src-dirs", "--s3-directory-markers", n.volume, n.remote())
			},
			differs: func(want map[string]entry) { usualFolders(want); noLinks(want) },
		},
		{
			name: "rclone copy", write: func(n *node) { n.rclone("copy", n.volume, n.remote()) },
			differs: func(want map[string]entry) { // times only
				noFolders(want)
				noLinks(want)
				for name, e := range want {
					e.UID, e.GID = uint32(os.Geteuid()), uint32(os.Getegid())
					if e.Mode.IsRegular() {
						e.Mode = 0o644
					}
					want[name] = e
				}
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, server)
			from, to := l.node(), l.node()
			from.furnish()
			tt.write(from)
			want := from.describe()
			tt.differs(want)
			objects := l.objects()
			to.restore()
			to.wantVolume(want)
			// What is as it was is not written anew only because it is not ours.
			to.start()
			to.stop()
			if diff := cmp.Diff(objects, l.objects()); diff != "" {
				t.Errorf("sync changed objects of others (- before, + after):\n%s", diff)
			}
			to.wantVolume(want)
		})
	}
}

// objects are those of the prefix that are not the syncer's own: when each was
// written, and what it is.
func (l *lab) objects() map[string]string {
	l.t.Helper()
	found := map[string]string{}
	for o := range l.server.Client(l.t).ListObjectsIter(l.t.Context(), l.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		l.check(o.Err)
		if key := o.Key[len(prefix):]; !isOurs(key) {
			found[key] = o.LastModified.String() + " " + o.ETag
		}
	}
	return found
}
