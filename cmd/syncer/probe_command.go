package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

func (p *program) probeCommand() *cobra.Command {
	cmd := command("probe", "Say what the store can do, and what it lacks",
		"Try out with a few small objects what the store can do, remove them, and say what the lack of\n"+
			"anything means. Ends with code 0 if the store can be used.", nil)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.probe(cmd.Context(), *output) }
	p.settings.define(cmd.Flags(), storeFlags)
	return cmd
}

// ability is one thing that a store can do or not.
type ability struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Means is what follows for the user from having it, or from lacking it.
	Means string `json:"means"`
}

func abilities(a store.Abilities) []ability {
	list := []struct {
		name      string
		ok        bool
		has, lack string
	}{
		{
			"conditional writes", a.ConditionalPut,
			"a write never lands on top of one that it did not know of",
			"two pods that write one file within the same second may overwrite each other unseen: let one pod at a time write below a prefix",
		},
		{
			"conditional writes of large files", a.ConditionalMultipart,
			"the same, for files that travel in parts",
			"two pods that write one large file within the same second may overwrite each other unseen: let one pod at a time write below a prefix",
		},
		{
			"conditional deletions", a.ConditionalDelete,
			"a deletion never takes a write that it did not know of",
			lackOfConditionalDelete(a.Versioning),
		},
		{
			"checksums", a.Checksums,
			"the store checks every upload whole",
			"an upload that is damaged on its way is found by the next restore only",
		},
		{
			"checksums of large files", a.ChecksumsOfParts,
			"the same, for files that travel in parts",
			"the store is sent an MD5 of each part as well, which most check: nothing is lost, large uploads take longer",
		},
		{
			"metadata", a.Metadata,
			"modes, owners and times come back",
			"modes, owners and times are lost, and symbolic links come back as files: keep only contents here",
		},
		{
			"metadata and checksums that last", a.Lasting,
			"nothing suggests that the store forgets them when it is started again, which a probe cannot try",
			lackOfLasting(a.Metadata),
		},
		{
			"folders", a.FolderObjects,
			"an empty folder comes back, and so do mode and owner of any folder",
			"folders come back with the usual mode and owner, empty ones perhaps not at all: put a file into a folder that must exist",
		},
		{
			"versions", a.Versioning,
			"what is overwritten or deleted can be had back",
			"what is overwritten or deleted is gone, and restore-at cannot be used: turn versioning on if that matters",
		},
		{
			"file and folder of one name", a.FileAndFolder,
			"a file may become a folder of the same name, and the reverse",
			lackOfRoom(a.Versioning),
		},
	}
	var result []ability
	for _, item := range list {
		means := item.lack
		if item.ok {
			means = item.has
		}
		result = append(result, ability{item.name, item.ok, means})
	}
	return result
}

// lackOfLasting is what it means that a store keeps metadata and checksums in
// its memory, as `rclone serve s3` does.
func lackOfLasting(metadata bool) string {
	if metadata {
		return "this store keeps them in its memory: once it is started again, or has very many objects, modes and owners are the usual ones, symbolic links come back as files, and what rots on its disk is not found: keep only contents here, of which there is another copy"
	}
	return "there is no metadata that could last"
}

// lackOfRoom is what it means that a store cannot hold both a and a/b. Where it
// keeps versions those of a deleted file count, too.
func lackOfRoom(versions bool) string {
	if versions {
		return "where a file becomes a folder of the same name, what is in it is reported as unsyncable until all versions of the file's object are removed"
	}
	return "where a file becomes a folder of the same name, the file's object goes first: for a moment neither is in the bucket"
}

// lackOfConditionalDelete is what it means that a store deletes whatever is
// there. Where it keeps versions, what was deleted by mistake is brought back.
func lackOfConditionalDelete(versions bool) string {
	if versions {
		return "a write that comes in the moment of a deletion is deleted, and brought back at once"
	}
	return "a write that comes in the moment of a deletion is lost: turn versioning on where several pods write below a prefix"
}

func (p *program) probe(ctx context.Context, output string) error {
	if err := p.settings.require(contract.FlagBucket, contract.FlagEndpoint); err != nil {
		return err
	}
	s3, err := p.openStore()
	if err != nil {
		return err
	}
	ctx, restoreSignals := interruptible(ctx, func(os.Signal) { os.Exit(p.report(errors.New("probe was stopped"))) })
	defer restoreSignals()
	if err := s3.CheckBucket(ctx); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	able, err := s3.Abilities(ctx, p.settings.prefix)
	if errors.Is(err, store.ErrAccessDenied) {
		return fmt.Errorf("probe: these credentials may list the bucket, but do not suffice for sync (mode read-only needs to list and read only): %w", err)
	}
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	list := abilities(able)
	if output == outputJSON {
		return p.printJSON(list)
	}
	fmt.Fprintf(p.stdout, "bucket %s at %s can be used\n\n", p.settings.bucket, p.settings.endpoint)
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, a := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\n", map[bool]string{true: "yes", false: "no"}[a.OK], a.Name, a.Means)
	}
	return table.Flush()
}
