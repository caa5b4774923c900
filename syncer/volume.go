package syncer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
	"github.com/minio-sidecar/minio-sidecar/syncer/tree"
)

// What the base remembers about itself.
const (
	metaIdentity = "identity" // which bucket and prefix
	metaVolume   = "volume"   // which volume
	metaRestored = "restored" // "true" once a restore was complete
	metaRemote   = "remote"   // which incarnation of the prefix
	metaWriter   = "writer"   // which sync used it last
	metaDamaged  = "damaged"  // the objects that could not be read, and then were gone
)

// ErrBucketReplaced: the prefix was emptied, or the bucket made anew, while
// sync was running.
var ErrBucketReplaced = errors.New("the bucket or prefix was emptied or made anew by somebody else; " +
	"started again, sync uploads what the volume holds")

// knowRemote makes sure that the base speaks of this incarnation of the
// prefix. If the prefix was emptied or made anew the base is no ancestor:
// nothing in the volume can be taken for deleted on its account. With claim
// set, a prefix that has no identity yet is given one.
func (e *Engine) knowRemote(ctx context.Context, claim bool) error {
	known, err := e.base.Meta(metaRemote)
	if err != nil {
		return fmt.Errorf("read base: %w", err)
	}
	id, err := e.remoteIdentity(ctx, claim)
	if err != nil {
		return fmt.Errorf("identify the prefix: %w", err)
	}
	if known != "" && known != id {
		e.log.Warn("starting over with an empty base: the bucket or prefix was emptied or made anew", "entries", e.base.Len())
		if err := e.base.Reset(); err != nil {
			return err
		}
		e.state.update(func(s *status.Status) { s.Restored = false })
		if err := e.prepareBase(); err != nil {
			return err
		}
	}
	if id == known || id == "" {
		return nil
	}
	return e.base.SetMeta(metaRemote, id)
}

func (e *Engine) remoteIdentity(ctx context.Context, claim bool) (string, error) {
	key := e.cfg.Prefix + contract.IdentityKey
	for {
		body, _, err := e.store.Read(ctx, key)
		if err == nil {
			return string(body), nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return "", err
		}
		if !claim {
			return "", nil
		}
		id := rand.Text()
		_, err = e.send(ctx, store.Upload{
			Key: key, Body: strings.NewReader(id), Size: int64(len(id)),
			Condition: store.Condition{IfAbsent: true},
		})
		if !errors.Is(err, store.ErrPrecondition) { // else another writer was first
			return id, err
		}
	}
}

// prepareBase makes sure that the base speaks of this volume and this prefix.
// If it does not it is no ancestor, and is begun anew: then nothing can be
// taken for deleted.
func (e *Engine) prepareBase() error {
	volume, err := e.tree.VolumeID()
	if err != nil {
		return err
	}
	identity := strings.Join([]string{e.cfg.Endpoint, e.cfg.Bucket, e.cfg.Prefix}, "\n")
	have, err := e.metas(metaIdentity, metaVolume)
	if err != nil {
		return err
	}
	if have[metaIdentity] != identity || have[metaVolume] != volume {
		if e.base.Len() > 0 {
			e.log.Warn("starting over with an empty base: it belongs to another volume, bucket or prefix",
				"entries", e.base.Len())
		}
		if err := e.base.Reset(); err != nil {
			return err
		}
		for name, value := range map[string]string{metaIdentity: identity, metaVolume: volume} {
			if err := e.base.SetMeta(name, value); err != nil {
				return fmt.Errorf("prepare base: %w", err)
			}
		}
	}
	e.recognize()
	return nil
}

func (e *Engine) metas(names ...string) (map[string]string, error) {
	values := map[string]string{}
	for _, name := range names {
		v, err := e.base.Meta(name)
		if err != nil {
			return nil, fmt.Errorf("read base: %w", err)
		}
		values[name] = v
	}
	return values, nil
}

// sameVolume guards every deletion in the bucket.
func (e *Engine) sameVolume() error {
	want, err := e.base.Meta(metaVolume)
	if err != nil {
		return err
	}
	have, err := e.tree.VolumeID()
	if err == nil && have != want {
		err = fmt.Errorf("the base speaks of another volume: %w", tree.ErrReplaced)
	}
	return err
}
