package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// What the bandwidth limit is measured with: four seconds' worth.
const (
	limitedRate  = "16Mi"
	limitedBytes = 64 << 20
)

// limited measures how much of a bandwidth limit is used: one file, each way.
func (b *bench) limited(ctx context.Context, ours *syncer) error {
	limited := *ours
	limited.limit = limitedRate
	source := filepath.Join(b.dir, "source")
	defer os.RemoveAll(source)
	if err := fill(source, 1, limitedBytes); err != nil {
		return err
	}
	for range b.runs {
		if err := b.limitedOnce(ctx, &limited, source); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) limitedOnce(ctx context.Context, c *syncer, source string) error {
	bucket, err := b.newBucket(ctx)
	if err != nil {
		return err
	}
	up, down := filepath.Join(b.dir, "upload"), filepath.Join(b.dir, "download")
	defer os.RemoveAll(up)
	defer os.RemoveAll(down)
	if err := os.CopyFS(up, os.DirFS(source)); err != nil {
		return err
	}
	if err := os.Mkdir(down, 0o755); err != nil {
		return err
	}
	took, err := c.Upload(ctx, up, bucket)
	if err != nil {
		return err
	}
	b.recordRate("up", c, took)
	if took, err = c.Download(ctx, bucket, down); err != nil {
		return err
	}
	b.recordRate("down", c, took)
	if err := sameFiles(source, down); err != nil {
		return err
	}
	return b.admin(ctx, "rb", "--force", "bench/"+bucket)
}

func (b *bench) recordRate(way string, c client, took time.Duration) {
	rate := float64(limitedBytes) / (1 << 20) / took.Seconds()
	b.say("%-28s %-14s %8.2f MiB/s", "Limited to "+limitedRate+", "+way, c.Name(), rate)
	b.limits.add(way, "MiB/s", c.Name(), rate)
}

// limitReport is the section of the page on it, empty if it was not measured.
func (b *bench) limitReport() string {
	up, down := b.limits.of("up", b.clients[0].Name()), b.limits.of("down", b.clients[0].Name())
	if len(up) == 0 || len(down) == 0 {
		return ""
	}
	return fmt.Sprintf("\n## A bandwidth limit\n\n"+
		"With `bandwidth-limit` at %s, so 16 MiB a second, one file of %d MiB travels at %s MiB a second into the bucket and at %s out of it. "+
		"That is the size of the file by the time of all commands, as above, medians of %d runs; what is missing is their starting and ending. The fastest of them made %s and %s.",
		limitedRate, limitedBytes>>20, number(median(up)), number(median(down)), len(up), number(quantile(up, 1)), number(quantile(down, 1)))
}
