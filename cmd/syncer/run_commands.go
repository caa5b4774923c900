package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

func (p *program) restoreCommand() *cobra.Command {
	cmd := command("restore", "Make the folder equal to the bucket, then end",
		"Make the folder equal to bucket and prefix, then end with code 0. It waits while the store\n"+
			"cannot be reached, and goes on where it was after an interruption. The bucket is not changed,\n"+
			"but for a note where --restore-at begins, or an object is damaged.",
		func(ctx context.Context) error { return p.operate(ctx, "", p.restore) })
	cmd.Annotations = map[string]string{containerMark: "restore"}
	p.settings.define(cmd.Flags(), storeFlags, volumeFlags, ruleFlags, []string{
		contract.FlagCreateBucket, contract.FlagRestoreAt, contract.FlagRestoreTimeout, contract.FlagReportAfter,
	}, logFlags)
	return cmd
}

func (p *program) restore(ctx context.Context, s *session, stateDir string) error {
	began := time.Now()
	ctx, stop := reportOnce(ctx, p.settings.reportAfter, stateDir, s.Status)
	defer stop()
	if err := s.Restore(ctx); err != nil {
		return err
	}
	done := s.Status().Progress
	return saveRestored(stateDir, restored{Files: done.FilesDone, Bytes: done.BytesDone, Seconds: time.Since(began).Seconds()})
}

func (p *program) syncCommand() *cobra.Command {
	cmd := command("sync", "Keep folder and bucket the same until told to stop",
		"Keep folder and bucket the same until SIGTERM or Ctrl-C, then bring the last changes into the\n"+
			"bucket and end: with code 0 only if everything is there. A second signal ends it at once.",
		func(ctx context.Context) error {
			return p.operate(ctx, p.settings.metricsAddress, func(ctx context.Context, s *session, stateDir string) error {
				if r, ok := loadRestored(stateDir); ok {
					s.metrics.Restored(r.Files, r.Bytes, time.Duration(r.Seconds*float64(time.Second)))
				}
				if err := s.Sync(ctx); err != nil {
					return withCondition(err, s.Status().Condition)
				}
				if p.settings.mode != contract.ModeReadOnly {
					p.log.Info("everything is in the bucket")
				}
				return nil
			})
		})
	cmd.Annotations = map[string]string{containerMark: "sync"}
	p.settings.define(cmd.Flags(), storeFlags, volumeFlags, ruleFlags, []string{
		contract.FlagDelete, contract.FlagCreateBucket, contract.FlagRestoreAt, contract.FlagFlushTimeout, contract.FlagShutdownQuiet,
		contract.FlagScanInterval, contract.FlagMetricsAddress,
	}, logFlags)
	return cmd
}

// restored is what a restore tells the sync that comes after it, whose metrics
// would not know: the container that restored is gone before anybody asks.
type restored struct {
	Files   int64   `json:"files"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

const restoredName = "restored.json"

func saveRestored(stateDir string, r restored) error {
	text, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(filepath.Join(stateDir, restoredName), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write down what was restored: %w", err)
	}
	return nil
}

// loadRestored returns false where nothing usable was written down.
func loadRestored(stateDir string) (r restored, ok bool) {
	text, err := os.ReadFile(filepath.Join(stateDir, restoredName))
	if err != nil || json.Unmarshal(text, &r) != nil || r.Files < 0 || r.Bytes < 0 || r.Seconds < 0 {
		return restored{}, false
	}
	return r, true
}

func (p *program) verifyCommand() *cobra.Command {
	cmd := command("verify", "Compare folder and bucket by content",
		"Compare folder and bucket by content, whatever was agreed on before, and change neither. All of\n"+
			"the bucket is read. Ends with a line for every path that differs and code 1, or code 6 if an\n"+
			"object is damaged, of which it leaves a note in the bucket. It may run beside a sync.", nil)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.verify(cmd.Context(), *output) }
	p.settings.define(cmd.Flags(), storeFlags, volumeFlags, ruleFlags, logFlags)
	return cmd
}

func (p *program) verify(ctx context.Context, output string) (err error) {
	if err := p.settings.require(contract.FlagBucket, contract.FlagEndpoint, contract.FlagPath); err != nil {
		return err
	}
	p.startLog()
	stateDir, err := p.settings.findStateDir(p.userCache)
	if err != nil {
		return err
	}
	if _, err := os.Stat(p.settings.path); errors.Is(err, fs.ErrNotExist) {
		return &badSetting{flag: contract.FlagPath, value: p.settings.path, must: "a folder that exists"}
	}
	if err := p.settings.prepareFolders(stateDir, false); err != nil {
		return err
	}
	// A base of its own, and an empty one: the sync that may be running holds
	// the other, and verify is not to believe it.
	baseDir, remove, err := temporaryDir(stateDir, "verify-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	s, err := p.openSession(baseDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	ctx, restoreSignals := interruptible(ctx, func(os.Signal) { os.Exit(contract.ExitFailure) })
	defer restoreSignals()
	differences, err := s.Verify(ctx)
	if err != nil {
		return err
	}
	return p.printDifferences(differences, output)
}

func (p *program) printDifferences(differences []syncer.Difference, output string) error {
	if output == outputJSON {
		if differences == nil {
			differences = []syncer.Difference{} // [], not null
		}
		if err := p.printJSON(differences); err != nil {
			return err
		}
	} else {
		for _, d := range differences {
			fmt.Fprintf(p.stdout, "%s: %s\n", oneLine(d.Path), oneLine(d.What))
		}
		if len(differences) == 0 {
			fmt.Fprintln(p.stdout, "folder and bucket are equal")
		}
	}
	if len(differences) == 0 {
		return nil
	}
	damaged := int64(0)
	for _, d := range differences {
		if d.Damaged {
			damaged++
		}
	}
	sentence := "folder and bucket differ at " + count(int64(len(differences)), "path")
	if damaged > 0 {
		return fmt.Errorf("%s; %s damaged: %w", sentence, count(damaged, "object"), store.ErrDamaged)
	}
	return errors.New(sentence)
}

func (p *program) printJSON(v any) error {
	encoder := json.NewEncoder(p.stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
