package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestLingerOutlivesTheSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signalled, stop := context.WithCancel(t.Context())
		serving := linger(signalled, 5*time.Second)
		stop()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if serving.Err() != nil {
			t.Error("stops serving before API servers can know")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if serving.Err() == nil {
			t.Error("never stops")
		}
	})
}
