package syncer

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sys/unix"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// A changing file is made of cells of 8 bytes that hold the number of the pass
// that wrote them, and each pass writes them in order. So a state that the file
// had can be told from one that it never had by looking at it.
const (
	cell  = 8
	chunk = 64 << 10 // what is written at once
	small = 4 * chunk
	big   = 20 << 20
	part  = 5 << 20 // in parts of this size, the smallest that S3 has

	stopsPerRead = 8
)

// changing is a file that is changed for some passes, in one way.
type changing struct {
	// begin makes the file, and returns what writes chunk i of a pass, and
	// what ends a pass.
	begin func(n *node, path string, size int) (put func(pass uint64, i int), end func(pass uint64))
	// had tells what is wrong with a content, if it is of no state of the file.
	had func(content []byte, size int) string
	// atTheEnd: only the end of a pass makes it another file.
	atTheEnd bool
}

// TestWholeFiles changes files while they are uploaded, and looks at every
// version that the bucket got: each is a state that the file had. The first
// upload is held until the file is another: it is given up, and counted as torn.
func TestWholeFiles(t *testing.T) {
	server := testenv.MinIO(t)
	for name, c := range map[string]changing{
		"rewritten in place":   {begin: inPlace, had: rewritten},
		"mapped":               {begin: mapped, had: rewritten},
		"truncated":            {begin: truncated, had: onePass},
		"appended to":          {begin: appended, had: grown},
		"replaced by a rename": {begin: replaced, had: complete, atTheEnd: true},
	} {
		for kind, size := range map[string]int{"small": small, "in parts": big} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				changeWhileUploading(t, server, c, size)
			})
		}
	}
}

func changeWhileUploading(t *testing.T, server *testenv.Server, c changing, size int) {
	const seed, passes = 20261124, 8
	random := rand.New(rand.NewPCG(seed, uint64(size)))
	r := &rig{server: server, bucket: server.NewBucket(t, true), endpoint: server.Endpoint}
	n := r.node(t, func(cfg *Config) {
		cfg.ScanInterval = 50 * time.Millisecond // a store through a mapping makes no event
		cfg.Concurrency = 1                      // one part is read after the other
	})
	n.partSize = part
	stops := make(chan struct{})
	h := &halting{piece: int64(size / stopsPerRead), stops: stops, caught: make(chan struct{}), goOn: make(chan struct{})}
	n.wrap = func(real store.Store) store.Store { h.Store = real; return h }
	n.start()
	put, end := c.begin(n, n.path("file"), size)
	chunks := size / chunk
	writes := func(pass uint64, from, to int) {
		for i := from; i < to; i++ {
			put(pass, i)
		}
		if to == chunks {
			end(pass)
		}
	}
	another := 1 // so much of the next pass makes it another file
	if c.atTheEnd {
		another = chunks
	}
	writes(0, 0, chunks)
	n.torn(h, func() { writes(1, 0, another) })
	if another < chunks {
		writes(1, another, chunks)
	}
	var flushes sync.WaitGroup
	t.Cleanup(flushes.Wait)
	for pass := uint64(2); pass < passes; pass++ {
		// It rests somewhere in the pass, until an upload has read this much of
		// it, or for a while. Every other time somebody asks for a flush, which
		// does not wait for quiet.
		rest, read := random.IntN(chunks), 1+random.IntN(stopsPerRead+2)
		for i := range chunks {
			put(pass, i)
			if i != rest {
				continue
			}
			if pass%2 == 1 {
				flushes.Go(func() {
					if err := n.engine.Flush(t.Context(), false); err != nil {
						t.Error(err)
					}
				})
			}
			await(stops, read, 300*time.Millisecond)
		}
		end(pass)
		if pass == passes/2 || pass == passes-1 {
			flushes.Wait()
			n.flush()
			n.verify()
		}
	}
	n.mustStop()
	if n.logged.count("path failed") > 0 {
		t.Error("a file that changes was taken for a failure, of the store's or of its own")
	}

	now, err := os.ReadFile(n.path("file"))
	n.do(err)
	client := server.Client(t)
	seen := 0
	for v := range client.Client.ListObjects(t.Context(), r.bucket, minio.ListObjectsOptions{Prefix: "app/file", WithVersions: true}) {
		n.do(v.Err)
		if v.Key != "app/file" {
			continue // the name that a rename came from
		}
		seen++
		obj, err := client.Client.GetObject(t.Context(), r.bucket, v.Key, minio.GetObjectOptions{VersionID: v.VersionID})
		n.do(err)
		content, err := io.ReadAll(obj)
		n.do(err)
		n.do(obj.Close())
		if wrong := c.had(content, size); wrong != "" {
			t.Errorf("version %s of %d bytes is no state that the file had: %s", v.VersionID, len(content), wrong)
		}
		if v.IsLatest && !bytes.Equal(content, now) {
			t.Error("the last version is not what the file holds")
		}
	}
	t.Logf("%d versions were published in %d passes", seen, passes)
	if seen < 2 {
		t.Errorf("%d versions were published, and there was a flush half-way and one at the end", seen)
	}
}

// torn has the file changed while its upload is held, which is then given up.
func (n *node) torn(h *halting, change func()) {
	n.t.Helper()
	release := sync.OnceFunc(func() { close(h.goOn) })
	n.t.Cleanup(release) // it would not end where the test has failed
	select {
	case <-h.caught:
	case <-time.After(testPatience):
		n.t.Fatal("the file is not uploaded")
	}
	count := func() float64 { return n.metric(n.t, "minio_sidecar_torn_reads_total") }
	before := count()
	change()
	release()
	n.await("torn", func() bool { return count() > before })
}

// await receives count times, for at most so long.
func await(stops <-chan struct{}, count int, most time.Duration) {
	enough := time.After(most)
	for range count {
		select {
		case <-stops:
		case <-enough:
			return
		}
	}
}

// halting stops for a moment after every piece that it reads of what it
// uploads, and says so to whoever waits for it: time to change what is not read
// yet, or what is. After the very first it stops until it is told to go on.
type halting struct {
	store.Store
	piece  int64
	stops  chan<- struct{}
	first  sync.Once
	caught chan struct{} // closed when it has stopped
	goOn   chan struct{}
}

func (h *halting) Upload(ctx context.Context, u store.Upload) (store.Object, error) {
	if u.Key == "app/file" && u.Size > 0 { // not the name that a rename comes from
		u.Body = &pieces{u.Body, h}
	}
	return h.Store.Upload(ctx, u)
}

type pieces struct {
	io.ReaderAt
	*halting
}

func (p *pieces) ReadAt(b []byte, off int64) (int, error) {
	read := 0
	for read < len(b) {
		at := off + int64(read)
		n, err := p.ReaderAt.ReadAt(b[read:min(int64(len(b)), int64(read)+p.piece-at%p.piece)], at)
		read += n
		if err != nil {
			return read, err
		}
		if (at+int64(n))%p.piece != 0 {
			continue
		}
		p.first.Do(func() {
			close(p.caught)
			<-p.goOn
		})
		select {
		case p.stops <- struct{}{}:
		default:
		}
		time.Sleep(5 * time.Millisecond)
	}
	return read, nil
}

func numbered(pass uint64) []byte {
	return bytes.Repeat(binary.NativeEndian.AppendUint64(nil, pass), chunk/cell)
}

func inPlace(n *node, path string, _ int) (func(uint64, int), func(uint64)) {
	f, err := os.Create(path)
	n.do(err)
	n.t.Cleanup(func() { n.do(f.Close()) })
	return func(pass uint64, i int) {
		_, err := f.WriteAt(numbered(pass), int64(i*chunk))
		n.do(err)
	}, func(uint64) {}
}

func mapped(n *node, path string, size int) (func(uint64, int), func(uint64)) {
	f, err := os.Create(path)
	n.do(err)
	defer f.Close()
	n.do(f.Truncate(int64(size)))
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	n.do(err)
	n.t.Cleanup(func() { n.do(unix.Munmap(mem)) })
	return func(pass uint64, i int) {
		for off := i * chunk; off < (i+1)*chunk; off += cell { // in order, which copy is not
			binary.NativeEndian.PutUint64(mem[off:], pass)
		}
	}, func(uint64) {}
}

func truncated(n *node, path string, _ int) (func(uint64, int), func(uint64)) {
	f, err := os.Create(path)
	n.do(err)
	n.t.Cleanup(func() { n.do(f.Close()) })
	return func(pass uint64, i int) {
		if i == 0 {
			n.do(f.Truncate(0))
		}
		_, err := f.WriteAt(numbered(pass), int64(i*chunk))
		n.do(err)
	}, func(uint64) {}
}

// appended grows by a 24th of the size each pass, after the first.
func appended(n *node, path string, _ int) (func(uint64, int), func(uint64)) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	n.do(err)
	n.t.Cleanup(func() { n.do(f.Close()) })
	var written uint64
	return func(pass uint64, i int) {
		if pass > 0 && i%24 != 0 {
			return
		}
		b := make([]byte, chunk)
		for off := 0; off < chunk; off += cell {
			binary.NativeEndian.PutUint64(b[off:], written)
			written++
		}
		_, err := f.Write(b)
		n.do(err)
	}, func(uint64) {}
}

func replaced(n *node, path string, _ int) (func(uint64, int), func(uint64)) {
	var f *os.File
	n.t.Cleanup(func() {
		if f != nil {
			f.Close()
		}
	})
	return func(pass uint64, i int) {
			if i == 0 {
				var err error
				f, err = os.Create(path + ".new")
				n.do(err)
			}
			_, err := f.Write(numbered(pass))
			n.do(err)
		}, func(uint64) {
			n.do(f.Close())
			f = nil
			n.do(os.Rename(path+".new", path))
		}
}

// cells reads a content. It may end in the middle of a write, but of no cell:
// the kernel copies whole pages.
func cells(content []byte) []uint64 {
	all := make([]uint64, len(content)/cell)
	for i := range all {
		all[i] = binary.NativeEndian.Uint64(content[i*cell:])
	}
	return all
}

// rewritten: cells of one pass, then cells of the pass before it. In the first
// pass the file is shorter, or holds zeros, which is the same as that pass.
func rewritten(content []byte, _ int) string {
	all := cells(content)
	for i := 1; i < len(all); i++ {
		if all[i] != all[i-1] && (all[i-1] != all[0] || all[i]+1 != all[0]) {
			return fmt.Sprintf("cell %d is of pass %d, after one of pass %d, in a file that begins with pass %d", i, all[i], all[i-1], all[0])
		}
	}
	return ""
}

// onePass: any length, but of one pass.
func onePass(content []byte, _ int) string {
	all := cells(content)
	for i := range all {
		if all[i] != all[0] {
			return fmt.Sprintf("cell %d is of pass %d in a file of pass %d", i, all[i], all[0])
		}
	}
	return ""
}

// complete: all of one pass.
func complete(content []byte, size int) string {
	if len(content) != size {
		return fmt.Sprintf("it is not of %d bytes", size)
	}
	return onePass(content, size)
}

// grown: the numbers from 0 on.
func grown(content []byte, _ int) string {
	for i, v := range cells(content) {
		if v != uint64(i) {
			return fmt.Sprintf("cell %d holds %d", i, v)
		}
	}
	return ""
}
