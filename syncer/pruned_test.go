package syncer

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// TestPrunedFolders: a volume that follows the deletion of what is in a folder
// removes that as well, because it was only implied. Whoever looks at it in
// between must not take it for one that somebody has emptied, which would be
// published, and come back to all if the node were lost just then.
func TestPrunedFolders(t *testing.T) {
	const folders = 50
	r := newRig(t, testenv.MinIO(t))
	a, b := r.node(t), r.node(t)
	b.attendEvery = 100 * time.Millisecond
	for i := range folders { // before the start, so that none of them is seen empty
		for j := range 3 { // so that what goes is not more than a half
			a.write(fmt.Sprintf("stays/%d/%d", i, j), "1")
		}
		a.write(fmt.Sprintf("goes/%d/file", i), "1")
	}
	a.start()
	a.flush()
	b.start()
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			folder := fmt.Sprintf("goes/%d/", i%folders)
			if item, err := b.engine.item(folder, nil); err == nil && item.Local != nil {
				t.Errorf("%s looks as if it had been emptied by the app", folder)
			}
		}
	})
	a.do(os.Rename(a.path("goes"), filepath.Join(t.TempDir(), "gone"))) // all at once, for the same reason
	a.flush()
	b.await("followed", func() bool { return len(b.listing()) == 1+folders+3*folders })
	close(done)
	looking.Wait()
	a.mustStop()
	b.mustStop()
}
