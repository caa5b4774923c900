package progress

import (
	"context"
	"log/slog"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

const (
	logInterval = 5 * time.Second
	// remindInterval is how often a line is repeated while nothing moves.
	remindInterval = time.Minute
)

// Log writes a line every few seconds while there is work, and a reminder once
// a minute while there is work that does not move, until ctx is done.
func Log(ctx context.Context, log *slog.Logger, read func() status.Status) {
	ticker := time.NewTicker(logInterval)
	defer ticker.Stop()
	var (
		meter Meter
		last  moving
		said  time.Time
	)
	meter.Read(time.Now(), read())
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		r := meter.Read(now, read())
		this := movingOf(r.Status)
		if !busy(r.Status) || this == last && now.Sub(said) < remindInterval {
			last = this
			continue
		}
		last, said = this, now
		log.LogAttrs(ctx, slog.LevelInfo, "progress", attributes(r)...)
	}
}

// moving is what changes as long as the work does not stand still.
type moving struct {
	phase     status.Phase
	condition status.Condition
	progress  status.Progress
	pending   int64
}

func movingOf(s status.Status) moving {
	return moving{s.Phase, s.Condition, s.Progress, s.Pending}
}

func busy(s status.Status) bool {
	return s.Phase == status.Restoring || s.Phase == status.Flushing || s.Pending > 0
}

func attributes(r Reading) []slog.Attr {
	p := r.Progress
	list := []slog.Attr{
		slog.String("phase", string(r.Phase)),
		slog.Int64("files", p.FilesDone), slog.Int64("bytes", p.BytesDone),
	}
	if p.FilesTotal > 0 {
		list = append(list, slog.Int64("filesTotal", p.FilesTotal), slog.Int64("bytesTotal", p.BytesTotal))
	}
	list = append(list, slog.Int64("bytesPerSecond", int64(r.BytesPerSecond)))
	if r.Left > 0 {
		list = append(list, slog.Duration("left", r.Left))
	}
	if r.Phase != status.Restoring {
		list = append(list,
			slog.Int64("pending", r.Pending), slog.Int64("synced", r.Synced),
			slog.Float64("oldestPendingSeconds", r.OldestPendingSeconds))
	}
	if r.Condition != status.OK {
		list = append(list, slog.String("condition", string(r.Condition)))
	}
	return list
}
