package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer"
	"github.com/minio-sidecar/minio-sidecar/syncer/base"
	"github.com/minio-sidecar/minio-sidecar/syncer/control"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

func TestExplain(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("restore: download a: %w", err) }
	for name, c := range map[string]struct {
		err  error
		code int
		says string // besides the error itself
	}{
		"nothing":          {nil, contract.ExitOK, ""},
		"anything":         {wrap(errors.New("odd")), contract.ExitFailure, ""},
		"usage":            {usageError{errors.New("unknown flag: --x")}, contract.ExitUsage, ""},
		"bad setting":      {&badSetting{flag: "mode", value: "x", must: "y"}, contract.ExitUsage, ""},
		"access denied":    {wrap(store.ErrAccessDenied), contract.ExitAccessDenied, "secret key"},
		"clocks":           {wrap(store.ErrClock), contract.ExitAccessDenied, "; set the clock"},
		"no bucket":        {wrap(store.ErrNoBucket), contract.ExitNoBucket, "create-bucket"},
		"unreachable":      {wrap(store.ErrUnreachable), contract.ExitUnreachable, "endpoint"},
		"damaged":          {wrap(store.ErrDamaged), contract.ExitDamaged, "older version"},
		"volume full":      {wrap(tree.ErrFull), contract.ExitVolumeFull, "size-limit"},
		"store full":       {wrap(store.ErrFull), contract.ExitFailure, "quota"},
		"in use":           {wrap(base.ErrInUse), contract.ExitOtherWriter, ""},
		"state volume":     {wrap(base.ErrUnwritable), contract.ExitFailure, "room"},
		"not running":      {wrap(control.ErrNotRunning), contract.ExitFailure, "syncer sync"},
		"told by another":  {&control.Failure{ExitCode: 5, Sentence: "no answer; check"}, 5, ""},
		"interrupted":      {fmt.Errorf("restore: %w", interrupted{os.Interrupt}), contract.ExitFailure, ""},
		"out of time":      {fmt.Errorf("flush: %w", context.DeadlineExceeded), contract.ExitFailure, ""},
		"left over":        {&syncer.UnsyncedError{Count: 2, Paths: []status.PathReason{{Path: "a"}, {Path: "b"}}}, contract.ExitFailure, ""},
		"left over, store": {&syncer.UnsyncedError{Count: 1, Cause: wrap(store.ErrUnreachable)}, contract.ExitUnreachable, "network"},
		// A store that says both means the more special one.
		"no bucket, denied": {errors.Join(store.ErrAccessDenied, store.ErrNoBucket), contract.ExitNoBucket, "create the bucket"},
	} {
		t.Run(name, func(t *testing.T) {
			code, sentence := explain(c.err)
			if code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
			if c.err != nil && !strings.HasPrefix(sentence, oneLine(c.err.Error())) {
				t.Errorf("%q does not begin with the error", sentence)
			}
			if !strings.Contains(sentence, c.says) {
				t.Errorf("%q does not say %q", sentence, c.says)
			}
			if strings.Contains(sentence, "\n") {
				t.Errorf("%q is more than a line", sentence)
			}
		})
	}
}

func TestWithCondition(t *testing.T) {
	late := errors.New("flush-timeout 2s is over")
	left := &syncer.UnsyncedError{Count: 1, Paths: []status.PathReason{{Path: "a"}}, Cause: late}
	for c, want := range map[status.Condition]int{
		status.OK: contract.ExitFailure, status.Failing: contract.ExitFailure, status.Halted: contract.ExitFailure,
		status.Unreachable: contract.ExitUnreachable, status.AccessDenied: contract.ExitAccessDenied,
		status.ClocksDiffer: contract.ExitAccessDenied,
		status.NoBucket:     contract.ExitNoBucket, status.StoreFull: contract.ExitFailure,
		status.VolumeFull: contract.ExitVolumeFull, status.Damaged: contract.ExitDamaged,
		status.StateUnwritable: contract.ExitFailure,
	} {
		err := withCondition(left, c)
		if code, sentence := explain(err); code != want || !strings.Contains(sentence, "a") || !errors.Is(err, late) {
			t.Errorf("%s: code %d, %q", c, code, sentence)
		}
	}
	if !errors.Is(left.Cause, late) || errors.Is(left.Cause, store.ErrUnreachable) {
		t.Error("the engine's own error was changed")
	}
	if err := withCondition(&syncer.UnsyncedError{Count: 1}, status.NoBucket); !errors.Is(err, store.ErrNoBucket) {
		t.Errorf("without a cause: %v", err)
	}
	if err := withCondition(late, status.NoBucket); !errors.Is(err, late) || errors.Is(err, store.ErrNoBucket) {
		t.Errorf("another error: %v", err)
	}
}

// Every code of the contract is the code of something.
func TestEveryCodeIsUsed(t *testing.T) {
	used := map[int]bool{contract.ExitOK: true, contract.ExitUsage: true}
	for _, c := range classes() {
		used[c.code] = true
	}
	for code := contract.ExitOK; code <= contract.ExitOtherWriter; code++ {
		if !used[code] {
			t.Errorf("nothing ends with %d", code)
		}
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain, ä":        "plain, ä",
		"a\nb\tc\r":       `a\nb\tc\r`,
		"\x1b[2J":         `\x1b[2J`,
		"bad\xffend":      `bad\xffend`,
		"\ufffd":          "\ufffd",
		"\x00":            `\x00`,
		"it's \"quoted\"": "it's \"quoted\"",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("a\nb\xff\x1b\u0085")
	f.Fuzz(func(t *testing.T, text string) {
		line := oneLine(text)
		if !utf8.ValidString(line) || strings.ContainsFunc(line, unicode.IsControl) {
			t.Errorf("%q became %q", text, line)
		}
		if utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl) && line != text {
			t.Errorf("%q was changed to %q", text, line)
		}
	})
}

func TestTermination(t *testing.T) {
	file := filepath.Join(t.TempDir(), "termination-log")
	if err := leaveTermination(file, 3, "no"); err != nil {
		t.Errorf("outside of a container: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file was made: %v", err)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("old ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := leaveTermination(file, 3, "access denied"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "access denied (exit code 3)" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTerminationMessageIsShortEnough(t *testing.T) {
	for n := maxTermination - 40; n < maxTermination+40; n++ {
		for _, letter := range []string{"a", "ä", "€", "🙂"} {
			message := terminationMessage(5, strings.Repeat(letter, n))
			if len(message) > maxTermination || !utf8.ValidString(message) || !strings.HasSuffix(message, " (exit code 5)") {
				t.Fatalf("%d × %s: %d bytes, ends in %q", n, letter, len(message), message[len(message)-30:])
			}
		}
	}
}

// TestExitOfVerify: damage is told from a difference.
func TestExitOfVerify(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &program{stdout: out}
	differs := syncer.Difference{Path: "a", What: "content differs"}
	damaged := syncer.Difference{Path: "b", What: "the object is damaged", Damaged: true}
	for want, list := range map[int][]syncer.Difference{
		contract.ExitOK: nil, contract.ExitFailure: {differs}, contract.ExitDamaged: {differs, damaged},
	} {
		if code, sentence := explain(p.printDifferences(list, outputText)); code != want {
			t.Errorf("%+v: code %d, want %d: %s", list, code, want, sentence)
		}
	}
}
