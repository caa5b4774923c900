package chaos

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/test/chaos/record"
)

// What a dead process has left is looked at before the next one starts, which
// would mend what was wrong. The way to the bucket is the checker's own, around
// all toxics. Where the store is down as well, it is waited for.
//
// The app goes on meanwhile, a step at a time, and requests of the dead process
// may still arrive. Neither is in the way: the record only grows, and a process
// asks for one thing after the other only when it knows what came of the first,
// so that any of its last requests may have arrived or not.

// leftBySync returns what the bucket has when sync was killed, and says what is
// wrong with it or with the volume.
func (w *world) leftBySync() (bucket map[string]record.State, wrong string) {
	if wrong := w.untouched(); wrong != "" {
		return nil, wrong
	}
	if bucket, wrong = w.bucketNow(); wrong != "" {
		return nil, wrong
	}
	w.mu.Lock()
	list := w.record.Check(bucket)
	w.counts["looks after a kill"]++
	w.mu.Unlock()
	wrong = w.report("the bucket is not what it may be, after a kill of sync", list, "")
	if wrong == "" && w.shared != nil {
		wrong = w.shared.left()
	}
	return bucket, wrong
}

// whatIsLeft demands that nothing is wrong with what a killed sync has left,
// and returns what the bucket has.
func (w *world) whatIsLeft() map[string]record.State {
	w.t.Helper()
	bucket, wrong := w.leftBySync()
	w.stopIfFailed()
	if wrong != "" {
		w.fatal(wrong)
	}
	return bucket
}

// untouched says where the volume is not what the app has made of it, which
// rests while that is looked at.
func (w *world) untouched() string {
	w.mu.Lock()
	found, err := w.surveyHome()
	var list []record.Violation
	if err == nil {
		list = w.record.Equal(found)
	}
	w.mu.Unlock()
	if err != nil {
		return "look at the volume after a kill: " + err.Error()
	}
	return w.report("the volume is not what the app made of it, after a kill of sync", list, w.home())
}

// leftByRestore demands that a volume into which a restore was only begun has
// nothing but what the bucket has, whole, and that the restore has not changed
// the bucket, which had this before. Folders get their attributes last.
func (w *world) leftByRestore(bucket map[string]record.State) {
	w.t.Helper()
	found, err := w.surveyHome()
	if err != nil {
		w.fatal(err.Error())
	}
	var list []record.Violation
	for _, path := range slices.Sorted(maps.Keys(found)) {
		f, want := found[path], bucket[path]
		if f != want && (f.Kind != record.Dir || want.Kind != record.Dir) {
			list = append(list, record.Violation{Path: path, What: fmt.Sprintf("the bucket has %s", want), Found: f})
		}
	}
	w.demand("a restore that was killed has left something else than the bucket has", list, w.home())
	now, wrong := w.bucketNow()
	w.stopIfFailed()
	if wrong != "" {
		w.fatal(wrong)
	}
	for path := range union(bucket, now) {
		if was := bucket[path]; was != now[path] {
			list = append(list, record.Violation{Path: path, What: fmt.Sprintf("it was %s", was), Found: now[path]})
		}
	}
	w.demand("a restore has changed the bucket", list, "")
	w.count("looks after a restore")
}

// bucketNow is what a restore of this volume's part of the bucket would bring.
func (w *world) bucketNow() (found map[string]record.State, wrong string) {
	bucket, wrong := w.lookPatiently()
	return withFolders(below(w.own, bucket)), wrong
}

// halfThere is what is wrong where the store was killed in the middle of a
// write: MinIO lists the object and cannot read it, until it is written anew,
// for which there has to be a sync.
const halfThere = "the store has lost what it was just writing"

// lookPatiently reads the bucket as soon as the store answers.
func (w *world) lookPatiently() (bucket map[string]record.State, wrong string) {
	const enough = 10 * time.Second // for a store that has just started
	for began := time.Now(); ; {
		bucket, err := w.auditor.look(w.t.Context())
		if err == nil {
			return bucket, ""
		}
		var answer minio.ErrorResponse
		if errors.As(err, &answer) && answer.Code == "SlowDownRead" && time.Since(began) > enough {
			return nil, halfThere
		}
		if w.hasFailed() || time.Since(began) > patience {
			return nil, "read the bucket: " + err.Error()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// below are the entries in a folder, or all if it has no name.
func below(folder string, all map[string]record.State) map[string]record.State {
	list := map[string]record.State{}
	for path, s := range all {
		if rest, ok := strings.CutPrefix(path, folder); ok {
			list[rest] = s
		}
	}
	return list
}

// withFolders adds the folders that are there because of what is in them.
func withFolders(bucket map[string]record.State) map[string]record.State {
	all := maps.Clone(bucket)
	for path := range bucket {
		for i, b := range path {
			if _, known := bucket[path[:i]]; b == '/' && !known {
				all[path[:i]] = record.State{Kind: record.Dir, Perm: record.PlainDir}
			}
		}
	}
	return all
}

func union(a, b map[string]record.State) map[string]record.State {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// home is the folder that the app works in.
func (w *world) home() string { return filepath.Join(w.node.volume, w.own) }

// surveyHome reads what is in it. A restore may not have made it yet.
func (w *world) surveyHome() (map[string]record.State, error) {
	found, err := survey(w.home())
	if w.own != "" && errors.Is(err, fs.ErrNotExist) {
		return map[string]record.State{}, nil
	}
	return found, err
}
