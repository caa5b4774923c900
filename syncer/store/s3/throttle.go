package s3

import (
	"net"
	"time"

	"golang.org/x/time/rate"
)

const (
	// bursts is how many times a second a connection may be served at least: what
	// goes at once is so small that a limit is held for files of a few
	// megabytes too, and that no one of many connections waits for long.
	bursts = 64
	// maxBurst is reached at 256 MiB/s.
	maxBurst = 4 << 20
)

// throttle keeps the bytes that go one way, over all connections of a store,
// below a rate. nil lets everything through.
type throttle struct{ limiter *rate.Limiter }

// newThrottle returns nil for a limit of 0.
func newThrottle(bytesPerSecond int64) *throttle {
	if bytesPerSecond <= 0 {
		return nil
	}
	burst := int(min(max(bytesPerSecond/bursts, 1), maxBurst))
	return &throttle{rate.NewLimiter(rate.Limit(bytesPerSecond), burst)}
}

// portion is how many of n bytes may go at once.
func (t *throttle) portion(n int) int {
	if t == nil {
		return n
	}
	return min(n, t.limiter.Burst())
}

// wait returns when n bytes, at most a portion, may go: in turn, so that each
// connection gets its share. Every nap it says so to waiting. It ends early,
// with net.ErrClosed, when closed is.
func (t *throttle) wait(n int, closed <-chan struct{}, nap time.Duration, waiting func() error) error {
	if t == nil || n == 0 {
		return nil
	}
	turn := t.limiter.ReserveN(time.Now(), n)
	for {
		left := turn.Delay()
		if left <= 0 {
			return nil
		}
		if err := waiting(); err != nil {
			turn.Cancel()
			return err
		}
		timer := time.NewTimer(min(left, nap))
		select {
		case <-timer.C:
		case <-closed:
			timer.Stop()
			turn.Cancel()
			return net.ErrClosed
		}
	}
}
