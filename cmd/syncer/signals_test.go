package main

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestInterruptible(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreAnyFunction("os/signal.loop"))
	hurried := make(chan os.Signal, 1)
	ctx, stop := interruptible(t.Context(), func(s os.Signal) { hurried <- s })
	send := func(s syscall.Signal) {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	send(syscall.SIGTERM)
	<-ctx.Done()
	if why, ok := errors.AsType[interrupted](context.Cause(ctx)); !ok || why.signal != syscall.SIGTERM {
		t.Errorf("got %v", context.Cause(ctx))
	}
	if len(hurried) > 0 {
		t.Error("the first signal already hurried")
	}
	send(syscall.SIGINT)
	if s := <-hurried; s != syscall.SIGINT {
		t.Errorf("got %v", s)
	}
	stop()
}

func TestNotInterrupted(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreAnyFunction("os/signal.loop"))
	ctx, stop := interruptible(t.Context(), func(os.Signal) { t.Error("hurried") })
	if ctx.Err() != nil {
		t.Error(ctx.Err())
	}
	stop()
}
