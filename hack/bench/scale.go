package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/minio-sidecar/minio-sidecar/hack/internal/loopback"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/control"
)

const (
	// perFolder is how many files a folder has, where it is not all of them.
	perFolder = 100
	// confirmUpTo is the largest volume that is emptied in the bucket as well:
	// deleting takes about as long as uploading.
	confirmUpTo = 100_000
)

// shape is a volume.
type shape struct {
	files     int
	oneFolder bool // or perFolder in each
}

func (s shape) String() string {
	if s.oneFolder {
		return grouped(s.files) + " in one folder"
	}
	return grouped(s.files)
}

// path of file i: 100 files in a folder, 100 folders in a folder.
func (s shape) path(i int) string {
	if s.oneFolder {
		return fmt.Sprintf("all/%07d.txt", i)
	}
	folder := i / perFolder
	return fmt.Sprintf("%03d/%03d/%07d.txt", folder/100, folder%100, i)
}

// fill writes the files, each with a content of its own of about 1 KiB.
func (s shape) fill(ctx context.Context, dir string) error {
	made := ""
	for i := range s.files {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		path := filepath.Join(dir, s.path(i))
		if folder := filepath.Dir(path); folder != made {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
			made = folder
		}
		if err := os.WriteFile(path, []byte(strings.Repeat(fmt.Sprintf("%07d\n", i), 128)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// scale measures the syncer alone, on volumes of one kind and many sizes.
type scale struct {
	*bench
	syncer *syncer
	rows   []row
	sparse *sparseResult
	brief  bool // leave out what only the page needs
}

// row is what was measured on one shape.
type row struct {
	shape
	upload, restore, start, halt cost
	scan, confirm                time.Duration
	idle                         memory
	idleCPU                      float64 // per cent
	base                         int64   // bytes of the file
	// loads are the load averages after each step: others may use the machine.
	loads []float64
}

// cost of a step.
type cost struct {
	took, cpu time.Duration
	peak      int64 // bytes of memory, all that the process did before included
}

// loaded notes the load average of the last minute.
func (r *row) loaded() {
	if l, err := strconv.ParseFloat(load(), 64); err == nil {
		r.loads = append(r.loads, l)
	}
}

func runScale(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("scale", flag.ContinueOnError)
	counts := flags.String("counts", "1000,10000,100000,1000000", "files in the volumes, 100 in a folder")
	one := flags.Int("one-folder", 100_000, "files in one folder; 0: none")
	sparse := flags.Bool("sparse", true, "measure sparse files as well")
	out := flags.String("out", "", "write the page to this file as well")
	check := flags.Bool("check", false, "only see, in some minutes, whether memory and CPU time stay in proportion to the files")
	timeout := flags.Duration("timeout", 3*time.Hour, "give up after so long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var shapes []shape
	for text := range strings.SplitSeq(*counts, ",") {
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < perFolder {
			return fmt.Errorf("-counts: %q is not a number from %d", text, perFolder)
		}
		shapes = append(shapes, shape{files: n})
	}
	if *one > 0 {
		shapes = append(shapes, shape{files: *one, oneFolder: true})
	}
	if *check {
		shapes, *sparse = checkedShapes(), false
	}
	slices.SortStableFunc(shapes, func(a, b shape) int { return cmp.Compare(a.files, b.files) })
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()

	root, err := loopback.Root()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "minio-sidecar-scale-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	machine := describe(ctx, root)
	s := &scale{bench: &bench{root: root, dir: dir}, brief: *check}
	if *sparse {
		if err := s.inStore(func() error { return s.measureSparse(ctx) }); err != nil {
			return fmt.Errorf("sparse files: %w", err)
		}
	}
	// The page is written again after each row: the last takes longest.
	for _, shape := range shapes {
		if err := s.inStore(func() error { return s.measure(ctx, shape) }); err != nil {
			return fmt.Errorf("%v files: %w", shape, err)
		}
		machine.loadAfter = load()
		if *out != "" {
			if err := os.WriteFile(*out, []byte(s.page(machine)), 0o644); err != nil {
				return err
			}
		}
	}
	machine.loadAfter = load()
	fmt.Printf("\n%s", s.page(machine))
	if *check {
		return complaints(s.rows)
	}
	return nil
}

// inStore gives each measurement a server and a folder of its own, so that the
// disk has to hold only one at a time and no server has to forget another.
func (s *scale) inStore(measure func() error) (err error) {
	outer := s.dir
	if s.dir, err = os.MkdirTemp(outer, "store-"); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, os.RemoveAll(s.dir))
		s.dir = outer
	}()
	tools := map[string]string{}
	for _, name := range []string{"minio", "mc"} {
		if tools[name], err = loopback.Tool(s.root, name); err != nil {
			return err
		}
	}
	store, err := loopback.StartMinIO(s.dir, tools["minio"])
	if err != nil {
		return err
	}
	defer store.Kill()
	s.mc = newMC(tools["mc"], s.dir, store)
	if s.syncer, err = newSyncer(filepath.Join(s.root, "bin/syncer"), s.dir, store); err != nil {
		return err
	}
	return measure()
}

func (s *scale) measure(ctx context.Context, shape shape) error {
	bucket, err := s.newBucket(ctx)
	if err != nil {
		return err
	}
	r := row{shape: shape}
	first, second := filepath.Join(s.dir, "first"), filepath.Join(s.dir, "second")
	if err := shape.fill(ctx, first); err != nil {
		return err
	}
	want, err := measureDir(first)
	if err != nil {
		return err
	}
	syscall.Sync()

	if r.upload, err = s.firstUpload(ctx, first, bucket); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	r.loaded()
	s.say("%v: upload %v", shape, r.upload)
	syscall.Sync()

	// A new pod: its volume is empty, and so is its state.
	if err := os.Mkdir(second, 0o755); err != nil {
		return err
	}
	env, err := s.syncer.env(bucket, second)
	if err != nil {
		return err
	}
	if r.restore, err = s.toEnd(ctx, env, "restore"); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	r.loaded()
	s.say("%v: restore %v", shape, r.restore)
	if got, err := measureDir(second); err != nil || got != want {
		return errors.Join(err, fmt.Errorf("restore: %d files of %d bytes arrived, not %d of %d", got.files, got.bytes, want.files, want.bytes))
	}
	if shape.files <= confirmUpTo && !s.brief { // reading a million files twice would take as long as restoring them
		if err := sameFiles(first, second); err != nil {
			return err
		}
	}
	syscall.Sync()
	if err := s.resident(ctx, env, bucket, second, &r); err != nil {
		return err
	}
	s.rows = append(s.rows, r)
	slices.SortStableFunc(s.rows, func(a, b row) int { return a.files - b.files })
	return nil
}

// firstUpload is what a pod does whose volume has files and whose bucket has none.
func (s *scale) firstUpload(ctx context.Context, dir, bucket string) (cost, error) {
	env, err := s.syncer.env(bucket, dir)
	if err != nil {
		return cost{}, err
	}
	if _, err := s.toEnd(ctx, env, "restore"); err != nil {
		return cost{}, err
	}
	began := time.Now()
	p, err := s.startSync(ctx, env)
	if err != nil {
		return cost{}, err
	}
	defer p.Kill()
	if err := s.flush(ctx, env, p); err != nil {
		return cost{}, err
	}
	c, err := costSince(began, p)
	if err != nil {
		return cost{}, err
	}
	return c, p.Stop()
}

// resident measures a sync that has nothing to do, and one whose volume is
// emptied under it.
func (s *scale) resident(ctx context.Context, env []string, bucket, dir string, r *row) error {
	began := time.Now()
	p, err := s.startSync(ctx, env)
	if err != nil {
		return err
	}
	defer p.Kill()
	if err := s.flush(ctx, env, p); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if r.start, err = costSince(began, p); err != nil {
		return err
	}
	if !s.brief {
		if r.idleCPU, err = idleCPUOf(ctx, p); err != nil {
			return err
		}
	}
	if r.scan, err = s.scanTime(ctx, env, p); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	if r.idle, err = readMemory(p.PID()); err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Join(stateDir(env), "base.db")); err == nil {
		r.base = info.Size()
	}
	s.say("%v: start %v; scan %v; idle %s, %s of it anonymous, %.2f %% CPU; base %s", r.shape,
		r.start, r.scan, mib(r.idle.now), mib(r.idle.anonymous), r.idleCPU, mib(r.base))
	return s.wipe(ctx, env, p, bucket, dir, r)
}

// wipe takes every file out of the volume at once and waits until the guard
// holds all the deletions back; then, where that does not take too long, lets
// them go.
func (s *scale) wipe(ctx context.Context, env []string, p *loopback.Process, bucket, dir string, r *row) error {
	_, before, err := usage(p.PID())
	if err != nil {
		return err
	}
	began := time.Now()
	away := filepath.Join(s.dir, "away")
	if err := os.Mkdir(away, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == filepath.Clean(contract.Reserved) {
			continue
		}
		if err := os.Rename(filepath.Join(dir, e.Name()), filepath.Join(away, e.Name())); err != nil {
			return err
		}
	}
	client := control.NewClient(stateDir(env))
	for {
		status, err := client.Status(ctx)
		if err != nil {
			return fmt.Errorf("wipe: %w\n%s", err, p.Log())
		}
		if status.HaltedDeletes >= int64(r.files) {
			break
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("wipe: %d of %d deletions are held back: %w", status.HaltedDeletes, r.files, err)
		}
	}
	if r.halt, err = costSince(began, p); err != nil {
		return err
	}
	r.halt.cpu -= before
	if r.files <= confirmUpTo && !s.brief {
		began = time.Now()
		if err := client.Flush(ctx, true); err != nil {
			return fmt.Errorf("confirm deletions: %w\n%s", err, p.Log())
		}
		r.confirm = time.Since(began)
		if got, err := s.mc.measureBucket(ctx, bucket); err != nil || got.files != 0 {
			return errors.Join(err, fmt.Errorf("confirm deletions: %d objects are left", got.files))
		}
	}
	m, err := readMemory(p.PID())
	if err != nil {
		return err
	}
	r.halt.peak = m.peak
	r.loaded()
	s.say("%v: all gone, held back %v, deleted in %v", r.shape, r.halt, r.confirm)
	return nil
}
