//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// output runs a command and returns what it printed. Its error tells what the
// command said.
func output(ctx context.Context, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

func command(ctx context.Context, argv ...string) error {
	_, err := output(ctx, argv...)
	return err
}

// commands runs them in order, up to the first that fails. Each is split at
// spaces, which no argument here contains.
func commands(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if err := command(ctx, strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// eventually tries until try succeeds, gives up for good (errStop) or the time is
// over; its error is the last one of try.
func eventually(ctx context.Context, what string, limit time.Duration, try func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		err := try(limited)
		if err == nil {
			return nil
		}
		if errors.Is(err, errStop) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if last == nil || limited.Err() == nil { // an error of the deadline itself tells nothing
			last = err
		}
		select {
		case <-time.After(100 * time.Millisecond):
			continue
		case <-limited.Done():
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
		return fmt.Errorf("%s: not within %s: %w", what, limit, last)
	}
}

// errStop marks an error that no further try will mend.
var errStop = errors.New("giving up")

// writeFile writes a whole file or none, making its folder when missing.
func writeFile(path, content string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.WriteString(content); err != nil {
		tmp.Close()
		return err
	}
	if err := errors.Join(tmp.Chmod(mode), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
