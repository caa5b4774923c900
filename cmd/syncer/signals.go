package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// interrupted is why a context ended.
type interrupted struct{ signal os.Signal }

func (i interrupted) Error() string { return fmt.Sprintf("stopped by signal: %s", i.signal) }

// interruptible returns a context that ends with the first SIGTERM, SIGINT or
// SIGHUP, for a graceful end; the second calls hurry, which does not return.
func interruptible(parent context.Context, hurry func(os.Signal)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	if !signal.Ignored(syscall.SIGHUP) { // nohup asked for that
		signals = append(signals, syscall.SIGHUP)
	}
	received := make(chan os.Signal, len(signals))
	signal.Notify(received, signals...)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for first := true; ; first = false {
			select {
			case s := <-received:
				if !first {
					hurry(s)
					return
				}
				cancel(interrupted{s})
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(received)
		close(done)
		<-ended
		cancel(nil)
	}
}
