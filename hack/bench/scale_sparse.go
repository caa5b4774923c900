package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/control"
)

const (
	// hugeFile is only begun to be uploaded, smallerFile goes there and back.
	hugeFile    = 50 << 30
	smallerFile = 2 << 30
	sparseData  = 1 << 20 // how much of each is not holes, in four places
	// underWay is how long the upload of the huge file is looked at.
	underWay = 5 * time.Second
)

// sparseResult is what was measured on files that are mostly holes.
type sparseResult struct {
	hugeScan              time.Duration
	hugePeak              int64
	upload, restore       cost
	diskBefore, diskAfter int64 // bytes on disk
}

// makeSparse writes a file of size bytes that has data in four places.
func makeSparse(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	data := make([]byte, sparseData/4)
	for i := range data {
		data[i] = byte(i%251) + 1
	}
	for i := range int64(4) {
		if _, err := f.WriteAt(data, i*(size-int64(len(data)))/3); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// onDisk is how much of a file is no hole.
func onDisk(path string) (int64, error) {
	var st syscall.Stat_t
	err := syscall.Stat(path, &st)
	return st.Blocks * 512, err
}

func (s *scale) measureSparse(ctx context.Context) error {
	r := &sparseResult{}
	if err := s.hugeSparse(ctx, r); err != nil {
		return fmt.Errorf("%d bytes: %w", int64(hugeFile), err)
	}
	bucket, err := s.newBucket(ctx)
	if err != nil {
		return err
	}
	first, second := filepath.Join(s.dir, "first"), filepath.Join(s.dir, "second")
	for _, dir := range []string{first, second} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := makeSparse(filepath.Join(first, "disk.img"), smallerFile); err != nil {
		return err
	}
	if r.upload, err = s.firstUpload(ctx, first, bucket); err != nil {
		return err
	}
	env, err := s.syncer.env(bucket, second)
	if err != nil {
		return err
	}
	if r.restore, err = s.toEnd(ctx, env, "restore"); err != nil {
		return err
	}
	if err := sameFiles(first, second); err != nil {
		return err
	}
	syscall.Sync() // before that blocks are not accounted for everywhere
	if r.diskBefore, err = onDisk(filepath.Join(first, "disk.img")); err != nil {
		return err
	}
	if r.diskAfter, err = onDisk(filepath.Join(second, "disk.img")); err != nil {
		return err
	}
	s.say("sparse %s: upload %v; restore %v; on disk %s, restored %s", mib(smallerFile),
		r.upload, r.restore, mib(r.diskBefore), mib(r.diskAfter))
	s.sparse = r
	return nil
}

// hugeSparse has a file found and planned whose upload would take minutes, and
// looks at what that costs while it is under way.
func (s *scale) hugeSparse(ctx context.Context, r *sparseResult) error {
	bucket, err := s.newBucket(ctx)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "huge")
	defer os.RemoveAll(dir)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	env, err := s.syncer.env(bucket, dir)
	if err != nil {
		return err
	}
	if _, err := s.toEnd(ctx, env, "restore"); err != nil {
		return err
	}
	if err := makeSparse(filepath.Join(dir, "disk.img"), hugeFile); err != nil {
		return err
	}
	began := time.Now()
	p, err := s.startSync(ctx, env)
	if err != nil {
		return err
	}
	defer p.Kill()
	client := control.NewClient(stateDir(env))
	for {
		status, err := client.Status(ctx)
		if err != nil {
			return err
		}
		if status.Pending > 0 {
			r.hugeScan = time.Since(began)
			break
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	if err := sleep(ctx, underWay); err != nil {
		return err
	}
	m, err := readMemory(p.PID())
	r.hugePeak = m.peak
	s.say("sparse %s: found in %v, peak %s", mib(hugeFile), r.hugeScan, mib(r.hugePeak))
	return err
}
