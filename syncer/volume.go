package syncer

import (
	"errors"
	"fmt"
	"strings"
)

// What the base remembers about itself.
const (
	metaIdentity = "identity" // which bucket and prefix
	metaVolume   = "volume"   // which volume
	metaRestored = "restored" // "true" once a restore was complete
)

// ErrVolumeGone: what is mounted is not the volume that the base speaks of.
var ErrVolumeGone = errors.New("the volume was unmounted, replaced, or emptied together with its .minio-sidecar folder")

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
	if err != nil || have != want {
		return errors.Join(ErrVolumeGone, err)
	}
	return nil
}
