package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/progress"
)

// program is one call of the syncer.
type program struct {
	stdout, stderr *os.File
	lookupEnv      func(string) (string, bool)
	userCache      func() (string, error)

	// termination is where a container leaves its last words, if it exists.
	termination string

	settings settings
	started  bool // the command line was understood and a command runs
	// container: the command is one that containers are started with, rather
	// than one that people and probes call inside of them.
	container bool

	// Of a command that works for long, and so logs; nil otherwise.
	log    *slog.Logger
	screen *progress.Terminal // nil unless people look at stderr
}

// run runs the command that args name and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	p.settings = defaultSettings()
	root := p.commands()
	root.SetArgs(args)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	p.container = isContainer(cmd)
	if _, bad := errors.AsType[*badSetting](err); err != nil && !p.started && !bad {
		// cobra spreads its suggestions over several lines.
		err = usageError{errors.New(strings.Join(strings.Fields(err.Error()), " "))}
	}
	return p.report(err)
}

// report says why a command failed, where people and Kubernetes look for it,
// and returns the exit code.
func (p *program) report(err error) int {
	code, sentence := explain(err)
	if err == nil {
		return code
	}
	if p.log != nil && p.container && p.settings.logFormatFor(p.screen != nil) == contract.LogFormatJSON {
		p.log.Error("failed", "exitCode", code, "error", sentence)
	} else {
		fmt.Fprintln(p.messages(), "syncer: "+sentence)
	}
	if p.container {
		if err := leaveTermination(p.termination, code, sentence); err != nil {
			fmt.Fprintln(p.messages(), "syncer: "+oneLine(err.Error()))
		}
	}
	return code
}

// messages is where people read what is not a result.
func (p *program) messages() io.Writer {
	if p.screen != nil {
		return p.screen
	}
	return p.stderr
}

// startLog begins logging, for a command that works for long.
func (p *program) startLog() {
	var out io.Writer = p.stderr
	if isTerminal(p.stderr) {
		p.screen = progress.NewTerminal(p.stderr, func() int { return columns(p.stderr) })
		out = p.screen
	}
	p.log = newLogger(out, p.screen != nil, p.settings.logLevel, p.settings.logFormatFor(p.screen != nil))
}

func (p *program) commands() *cobra.Command {
	root := &cobra.Command{
		Use:   "syncer",
		Short: "Keep a folder and a prefix of an S3 bucket the same",
		Long: "Keep a folder and a prefix of an S3 bucket the same.\n\n" +
			"Every setting is a flag and an environment variable; the flag wins. The variable of\n" +
			"--flush-timeout is " + contract.EnvName(contract.FlagFlushTimeout) + ", and so on. Without --credentials-dir the keys are\n" +
			"taken from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := bind(cmd.Flags(), p.lookupEnv); err != nil {
				return err
			}
			p.started = true
			return nil
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if bad, ok := errors.AsType[*badSetting](err); ok {
			return bad // it says all, and once
		}
		return err
	})
	root.AddCommand(p.restoreCommand(), p.syncCommand(), p.flushCommand(), p.statusCommand(),
		p.verifyCommand(), p.probeCommand(), p.versionCommand())
	return root
}

// containerMark is the annotation of commands that containers are started with.
const containerMark = "container"

func isContainer(cmd *cobra.Command) bool { return cmd != nil && cmd.Annotations[containerMark] != "" }

// command is a command without positional arguments.
func command(name, short, long string, run func(ctx context.Context) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context()) },
	}
	cmd.Flags().SortFlags = false // the order in which they were thought of says more
	return cmd
}

// Values of the --output flag.
const (
	outputText = "text"
	outputJSON = "json"
)

// outputFlag adds -o to cmd. It steers one call, so it is no setting.
func outputFlag(cmd *cobra.Command) *string {
	output := outputText
	cmd.Flags().VarP(&value[string]{oneOfKind(outputText, outputJSON), "output", &output}, "output", "o", "text for people, json for programs")
	return &output
}
