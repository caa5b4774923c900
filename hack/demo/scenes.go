package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// work: an app writes on its first node while sync runs.
func work(ctx context.Context, a *node) error {
	a.say("Node A is the folder %s. The pod starts there for the first time:", a.volume)
	a.command("syncer restore")
	_, took, err := a.run(ctx, "restore")
	if err != nil {
		return err
	}
	a.kept(took, "the bucket is new and empty, so there is nothing to wait for")
	a.command("syncer sync &")
	if err := a.start(ctx); err != nil {
		return err
	}

	a.say("The app writes 505 files: photos in folders, a video of 64 MiB, an empty file, a secret\n" +
		"with mode 0600, a name with spaces and umlauts dated 1999, a symbolic link, an empty folder.")
	began := time.Now()
	if err := write(a.volume); err != nil {
		return err
	}
	a.kept(time.Since(began), "written; the app never waits for the store")
	a.command("syncer flush")
	_, took, err = a.run(ctx, "flush")
	if err != nil {
		return err
	}
	a.kept(took, "all of it is in the bucket")
	return a.showStatus(ctx)
}

func (n *node) showStatus(ctx context.Context) error {
	n.command("syncer status")
	text, _, err := n.run(ctx, "status")
	if err != nil {
		return err
	}
	n.quote(text)
	return nil
}

// move: the pod is deleted on one node and comes back on another.
func move(ctx context.Context, a, b *node) error {
	a.chapter("3. The pod moves to another node")
	a.say("The pod is deleted. In its last moment the app writes one more file:")
	if err := os.WriteFile(a.file("last-words.txt"), []byte("do not lose me\n"), 0o644); err != nil {
		return err
	}
	a.command("kill -TERM $(pidof syncer)")
	began := time.Now()
	if err := a.sync.Stop(); err != nil {
		return err
	}
	a.kept(time.Since(began), "sync uploaded what was left and exited with 0: nothing is missing")

	b.say("On node B, an empty folder, restore runs before the app:")
	b.command("syncer restore")
	_, took, err := b.run(ctx, "restore")
	if err != nil {
		return err
	}
	b.kept(took, "restored")
	b.command("syncer verify")
	_, took, err = b.run(ctx, "verify")
	if err != nil {
		return err
	}
	b.kept(took, "every byte is as in the bucket")
	began = time.Now()
	count, err := same(a.volume, b.volume)
	if err != nil {
		return err
	}
	b.kept(time.Since(began), "%d entries compared between A and B: contents, times, modes, links are the same", count)
	return nil
}

// edit: what the app changes and deletes follows.
func edit(ctx context.Context, b *node) error {
	b.chapter("4. The app goes on, on node B")
	b.command("syncer sync &")
	if err := b.start(ctx); err != nil {
		return err
	}
	b.say("It edits a note, replaces a photo, deletes another, renames a folder:")
	note, err := os.OpenFile(b.file("notes/Zürich – Frühling 2026.md"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := note.WriteString("and it rained\n"); err != nil {
		return err
	}
	if err := note.Close(); err != nil {
		return err
	}
	if err := os.WriteFile(b.file("photos/2026/01/.new"), []byte("a better one"), 0o644); err != nil {
		return err
	}
	if err := os.Rename(b.file("photos/2026/01/.new"), b.file("photos/2026/01/img-000.jpg")); err != nil {
		return err
	}
	if err := os.Remove(b.file("photos/2026/02/img-001.jpg")); err != nil {
		return err
	}
	if err := os.Rename(b.file("photos/2026/03"), b.file("photos/2026/march")); err != nil {
		return err
	}
	b.command("syncer flush")
	_, took, err := b.run(ctx, "flush")
	if err != nil {
		return err
	}
	b.kept(took, "the bucket has followed")
	return b.showStatus(ctx)
}

// crash: a node dies without a word.
func crash(ctx context.Context, b, c *node) error {
	b.chapter("5. Node B loses its power")
	b.command("kill -KILL $(pidof syncer)")
	b.sync.Kill()
	b.say("No goodbye, no last flush. Node C starts from what was acknowledged:")
	c.command("syncer restore")
	_, took, err := c.run(ctx, "restore")
	if err != nil {
		return err
	}
	c.kept(took, "restored")
	began := time.Now()
	count, err := same(b.volume, c.volume)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(c.file("photos/2026/02/img-001.jpg")); err == nil {
		return fmt.Errorf("a photo that was deleted on node B is back on node C")
	}
	c.kept(time.Since(began), "%d entries compared between B and C: edits, renames and deletions are all there", count)
	return nil
}
