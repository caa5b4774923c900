package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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

// usageError is a command line that was not understood.
type usageError struct{ error }

// class is a kind of failure that people can do something about.
type class struct {
	is     error
	code   int
	advice string
}

// classes come in the order in which they are looked for: the more special
// one first, where an error is of two.
func classes() []class {
	return []class{
		{store.ErrNoBucket, contract.ExitNoBucket, "create the bucket, correct its name, or allow create-bucket"},
		{store.ErrClock, contract.ExitAccessDenied, "set the clock that is wrong, as by NTP; the credentials may well be right"},
		{store.ErrAccessDenied, contract.ExitAccessDenied, "check the access key and the secret key, and that their user may list the bucket, and get, put and delete objects under the prefix"},
		{tree.ErrFull, contract.ExitVolumeFull, "make the volume larger (size-limit), or free room on its disk"},
		{base.ErrUnwritable, contract.ExitFailure, "make room where the state directory is: a change may be in the bucket all the same, but is not acknowledged"},
		{store.ErrDamaged, contract.ExitDamaged, "restore an older version of that object in the store, or delete it there"},
		{store.ErrNoVersions, contract.ExitFailure, "restore-at needs a bucket with versioning enabled, and a moment since then"},
		{store.ErrFull, contract.ExitFailure, "make room in the store, or raise the bucket's quota"},
		{store.ErrUnreachable, contract.ExitUnreachable, "check the endpoint, the store itself, and the network between"},
		{base.ErrInUse, contract.ExitOtherWriter, ""}, // says itself what to do
		{control.ErrNotRunning, contract.ExitFailure, "start `syncer sync`, or name the state directory that it was started with"},
	}
}

// explain turns an error into an exit code and one sentence that says what
// happened and what to do.
func explain(err error) (code int, sentence string) {
	if err == nil {
		return contract.ExitOK, ""
	}
	sentence = oneLine(err.Error())
	if failure, ok := errors.AsType[*control.Failure](err); ok {
		return failure.ExitCode, sentence // explained where it happened
	}
	_, bad := errors.AsType[*badSetting](err)
	_, misused := errors.AsType[usageError](err)
	if bad || misused {
		return contract.ExitUsage, sentence
	}
	for _, c := range classes() {
		if !errors.Is(err, c.is) {
			continue
		}
		if c.advice != "" {
			sentence += "; " + c.advice
		}
		return c.code, sentence
	}
	return contract.ExitFailure, sentence
}

// withCondition adds to the error of a sync that ran out of time what kept it
// from being done: that is what people can do something about.
func withCondition(err error, c status.Condition) error {
	unsynced, ok := errors.AsType[*syncer.UnsyncedError](err)
	if !ok {
		return err
	}
	because, ok := map[status.Condition]error{
		status.Unreachable:     store.ErrUnreachable,
		status.AccessDenied:    store.ErrAccessDenied,
		status.ClocksDiffer:    store.ErrClock,
		status.NoBucket:        store.ErrNoBucket,
		status.StoreFull:       store.ErrFull,
		status.VolumeFull:      tree.ErrFull,
		status.StateUnwritable: base.ErrUnwritable,
		status.Damaged:         store.ErrDamaged,
	}[c]
	if !ok || errors.Is(err, because) {
		return err
	}
	told := *unsynced
	told.Cause = because
	if unsynced.Cause != nil {
		told.Cause = fmt.Errorf("%w: %w", unsynced.Cause, because)
	}
	return &told
}

// oneLine shows what a terminal would not: a file's name may have line ends
// and escape sequences in it.
func oneLine(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsControl(r):
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// maxTermination is how much of a termination message Kubernetes keeps.
const maxTermination = 4096

// leaveTermination writes sentence and code to the container's termination
// message, which `kubectl describe pod` shows. The file is the kubelet's:
// where there is none this is not a container.
func leaveTermination(file string, code int, sentence string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write termination message: %w", err)
	}
	_, err = f.WriteString(terminationMessage(code, sentence))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write termination message: %w", err)
	}
	return nil
}

func terminationMessage(code int, sentence string) string {
	tail := fmt.Sprintf(" (exit code %d)", code)
	if len(sentence)+len(tail) > maxTermination {
		const more = "…"
		end := maxTermination - len(tail) - len(more)
		for end > 0 && !utf8.RuneStart(sentence[end]) {
			end--
		}
		sentence = sentence[:end] + more
	}
	return sentence + tail
}
