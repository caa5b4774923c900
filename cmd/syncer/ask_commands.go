package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/minio-sidecar/minio-sidecar/pkg/version"
	"github.com/minio-sidecar/minio-sidecar/syncer/control"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// client talks to the running syncer that the settings mean.
func (p *program) client() (*control.Client, error) {
	stateDir, err := p.settings.findStateDir(p.userCache)
	if err != nil {
		return nil, err
	}
	return control.NewClient(stateDir), nil
}

func (p *program) statusCommand() *cobra.Command {
	cmd := command("status", "Say how the running sync is doing",
		"Say how the running sync is doing. Ends with code 0 if the folder is restored and watched, so\n"+
			"that an app may use it, else with code 1.", nil)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.status(cmd.Context(), *output) }
	p.settings.define(cmd.Flags(), whichFlags)
	return cmd
}

// statusTimeout is for a syncer that is too busy to answer.
const statusTimeout = 10 * time.Second

func (p *program) status(ctx context.Context, output string) error {
	client, err := p.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	s, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if output == outputJSON {
		if err := p.printJSON(s); err != nil {
			return err
		}
	} else {
		writeStatus(p.stdout, s)
	}
	return usable(s)
}

// usable returns nil if an app may use the folder.
func usable(s status.Status) error {
	why := ""
	if s.Message != "" {
		why = ": " + s.Message
	}
	switch {
	case s.Phase == status.Restoring, s.Phase == status.Starting:
		return fmt.Errorf("not ready: the syncer is %s%s", s.Phase, why)
	case s.Phase == status.Stopped:
		return errors.New("not ready: the sync has stopped")
	case !s.Restored:
		return fmt.Errorf("not ready: folder and bucket have not been compared yet%s", why)
	case !s.Watching:
		return fmt.Errorf("not ready: the folder is not watched yet%s", why)
	}
	return nil
}

func (p *program) flushCommand() *cobra.Command {
	var confirm bool
	var timeout time.Duration
	cmd := command("flush", "Wait until all that was written so far is in the bucket",
		"Ask the running sync to bring all that was written before this call into the bucket, and\n"+
			"return when it is there.",
		func(ctx context.Context) error { return p.flush(ctx, confirm, timeout) })
	cmd.Flags().VarPF(&value[bool]{boolKind(), "confirm-deletes", &confirm}, "confirm-deletes", "",
		"let go of the deletions that are halted because they would empty most of the folder").NoOptDefVal = "true"
	cmd.Flags().Var(&value[time.Duration]{durationKind(0), "timeout", &timeout}, "timeout", "give up after so long; 0s: never")
	p.settings.define(cmd.Flags(), whichFlags)
	return cmd
}

// tellInterval is how often flush says what it waits for.
const tellInterval = 2 * time.Second

func (p *program) flush(ctx context.Context, confirm bool, timeout time.Duration) error {
	client, err := p.client()
	if err != nil {
		return err
	}
	ctx, restoreSignals := interruptible(ctx, func(os.Signal) { os.Exit(p.report(errors.New("flush was stopped"))) })
	defer restoreSignals()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not all is in the bucket after %s", timeout))
		defer cancel()
	}
	began := time.Now()
	telling, stop := context.WithCancel(ctx)
	var around sync.WaitGroup
	around.Go(func() { p.tell(telling, client) })
	err = client.Flush(ctx, confirm)
	stop()
	around.Wait()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("flush: %w", context.Cause(ctx))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "all that was written is in the bucket (%s)\n", time.Since(began).Round(time.Millisecond))
	return nil
}

// tell says what a flush waits for, whenever that has changed.
func (p *program) tell(ctx context.Context, client *control.Client) {
	ticker := time.NewTicker(tellInterval)
	defer ticker.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s, err := client.Status(ctx)
		if err != nil {
			continue // the flush itself will tell
		}
		if line := waitingFor(s); line != "" && line != last {
			fmt.Fprintln(p.stderr, line)
			last = line
		}
	}
}

// shownWaiting is how many paths are named while a flush waits.
const shownWaiting = 3

func waitingFor(s status.Status) string {
	if s.Pending == 0 {
		return ""
	}
	line := fmt.Sprintf("waiting for %s", count(s.Pending, "path"))
	for i, path := range s.PendingPaths {
		if i == shownWaiting {
			line += ", …"
			break
		}
		line += map[bool]string{true: ": ", false: ", "}[i == 0] + oneLine(path.Path)
		if path.Reason != "" {
			line += " (" + oneLine(path.Reason) + ")"
		}
	}
	if s.Message != "" {
		line += "; " + oneLine(s.Message)
	}
	return line
}

// count writes "1 path", "12,345 paths".
func count(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return humanize.Comma(n) + " " + noun
}

func (p *program) versionCommand() *cobra.Command {
	cmd := command("version", "Print the version", "", nil)
	output := outputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		v := version.Get()
		if *output == outputJSON {
			return p.printJSON(v)
		}
		fmt.Fprintf(p.stdout, "syncer %s\ncommit   %s\ngo       %s\nplatform %s\n", v.Version, v.Commit, v.Go, v.Platform)
		return nil
	}
	return cmd
}
