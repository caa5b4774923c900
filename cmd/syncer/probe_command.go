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
			"two writers of one file within the same moment may overwrite each other: run one sync per prefix",
		},
		{
			"conditional writes of large files", a.ConditionalMultipart,
			"the same, for files that travel in parts",
			"two writers of one large file within the same moment may overwrite each other: run one sync per prefix",
		},
		{
			"checksums", a.Checksums,
			"the store checks every upload whole",
			"an upload that is damaged on its way is found at the next download only",
		},
		{
			"metadata in listings", a.ListingMetadata,
			"attributes come with the listing",
			"attributes are asked for file by file, where they are needed: comparing takes longer",
		},
		{
			"versions", a.Versioning,
			"what is overwritten or deleted can be had back",
			"what is overwritten or deleted is gone: turn versioning on if that matters",
		},
		{
			"file and folder of one name", a.FileAndFolder,
			"a file may become a folder of the same name, and the reverse",
			"where a file becomes a folder of the same name, the file's object goes first",
		},
		{
			"notifications", a.Notifications,
			"what others write can be heard of at once",
			"what others write is found by listing, every few seconds while they are there",
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
