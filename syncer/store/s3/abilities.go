package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// Abilities implements [store.Store]. Each ability is tried on objects of
// random names, so that several callers do not disturb each other.
func (s *Store) Abilities(ctx context.Context, prefix string) (a store.Abilities, err error) {
	p := s.newProbe(prefix)
	defer p.end(ctx, &err)
	if err := p.rights(ctx); err != nil {
		return a, err
	}
	for _, try := range []struct {
		name  string
		holds *bool
		run   func(context.Context) (bool, error)
	}{
		{"conditional writes", &a.ConditionalPut, p.conditionalPut},
		{"conditional completion of multipart uploads", &a.ConditionalMultipart, p.conditionalMultipart},
		{"conditional deletions", &a.ConditionalDelete, p.conditionalDelete},
		{"checksums", &a.Checksums, p.checksums},
		{"checksums of parts", &a.ChecksumsOfParts, p.checksumsOfParts},
		{"metadata", &a.Metadata, p.metadata},
		{"metadata that lasts", &a.Lasting, p.lasting},
		{"versions", &a.Versioning, p.versioning},
		{"a file and a folder of one name", &a.FileAndFolder, p.fileAndFolder},
		{"objects for folders", &a.FolderObjects, p.folderObjects},
	} {
		if *try.holds, err = try.run(ctx); err != nil {
			return a, fmt.Errorf("try %s: %w", try.name, err)
		}
	}
	return a, nil
}

// ConditionalWrites implements [store.Store].
func (s *Store) ConditionalWrites(ctx context.Context, prefix string) (honoured bool, err error) {
	p := s.newProbe(prefix)
	defer p.end(ctx, &err)
	if honoured, err = p.conditionalPut(ctx); err != nil || !honoured {
		return false, err
	}
	return p.conditionalMultipart(ctx)
}

func (s *Store) newProbe(prefix string) *probe {
	return &probe{s: s, folder: prefix + contract.ProbePrefix + rand.Text() + "/"}
}

// end removes what was written, also when ctx has ended.
func (p *probe) end(ctx context.Context, err *error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	if cleanErr := p.clean(ctx); *err == nil {
		*err = cleanErr
	}
}

// probeTime is the modification time of what is written, a second after the
// beginning of time.
const probeTime = "1"

// probe tries things out below one folder.
type probe struct {
	s      *Store
	folder string
	keys   []string // written, newest last
}

func (p *probe) key(name string) string {
	key := p.folder + name
	p.keys = append(p.keys, key)
	return key
}

// put writes a small object by the code that the engine uses. It is tried
// several times: a probe takes many requests, and a store that refuses every
// third for want of time would never get through one.
func (p *probe) put(ctx context.Context, key, content string, c store.Condition) (obj store.Object, err error) {
	err = retry(ctx, func() (err error) {
		obj, err = p.s.Upload(ctx, store.Upload{
			Key: key, Body: bytes.NewReader([]byte(content)), Size: int64(len(content)),
			Metadata: map[string]string{"mtime": probeTime}, Condition: c,
		})
		return err
	})
	return obj, err
}

// rights finds out at the price of one object what the credentials may not do.
func (p *probe) rights(ctx context.Context) error {
	key := p.key("rights")
	if _, err := p.put(ctx, key, "content", store.Condition{}); err != nil {
		return err
	}
	body, _, err := p.s.get(ctx, key, "", nil)
	if err != nil {
		return p.s.fail(ctx, "read", key, err)
	}
	body.Close()
	return p.s.Delete(ctx, key, "")
}

// refused says whether a write was refused because of its condition. Stores
// without conditions either let it through or say that they have none.
func refused(err error) (bool, error) {
	switch {
	case err == nil, isUnsupported(err):
		return false, nil
	case errors.Is(err, store.ErrPrecondition):
		return true, nil
	}
	return false, err
}

// lostAnswer is the error of a conditional write that nothing was in the way
// of. If its condition did not hold, an earlier try of it had been done, and
// only its answer was lost: nothing is known, and the store is to be asked again.
func lostAnswer(err error) error {
	yes, err := refused(err)
	if yes {
		return fmt.Errorf("an answer got lost: %w", store.ErrUnreachable)
	}
	return err
}

func (p *probe) conditionalPut(ctx context.Context) (bool, error) {
	key := p.key("put")
	first, err := p.put(ctx, key, "first", store.Condition{IfAbsent: true})
	if err != nil {
		return false, lostAnswer(err)
	}
	if _, err := p.put(ctx, key, "second", store.Condition{IfMatch: first.ETag}); err != nil {
		return false, lostAnswer(err)
	}
	// Now first's ETag is an old one, and the key is taken.
	for _, c := range []store.Condition{{IfAbsent: true}, {IfMatch: first.ETag}} {
		_, err := p.put(ctx, key, "third", c)
		if yes, err := refused(err); err != nil || !yes {
			return false, err
		}
	}
	// Where there is nothing, nothing matches.
	_, err = p.put(ctx, p.key("nothing"), "first", store.Condition{IfMatch: first.ETag})
	return refused(err)
}

func (p *probe) conditionalMultipart(ctx context.Context) (bool, error) {
	key := p.key("multipart")
	first, err := p.multipart(ctx, key, "first", store.Condition{IfAbsent: true})
	if err != nil {
		return false, lostAnswer(err)
	}
	if _, err := p.multipart(ctx, key, "second", store.Condition{IfMatch: first}); err != nil {
		return false, lostAnswer(err)
	}
	for _, c := range []store.Condition{{IfAbsent: true}, {IfMatch: first}} {
		_, err := p.multipart(ctx, key, "third", c)
		if yes, err := refused(err); err != nil || !yes {
			return false, err
		}
	}
	return true, nil
}

// multipart is put for an object that travels in parts, and returns its ETag.
func (p *probe) multipart(ctx context.Context, key, content string, c store.Condition) (etag string, err error) {
	err = retry(ctx, func() (err error) {
		etag, err = p.s.uploadParts(ctx, store.Upload{
			Key: key, Body: bytes.NewReader([]byte(content)), Size: int64(len(content)), Condition: c,
		})
		return err
	})
	if err != nil {
		return "", p.s.fail(ctx, "upload", key, conditional(c, err))
	}
	return etag, nil
}

func (p *probe) conditionalDelete(ctx context.Context) (bool, error) {
	key := p.key("delete")
	first, err := p.put(ctx, key, "first", store.Condition{})
	if err != nil {
		return false, err
	}
	second, err := p.put(ctx, key, "second", store.Condition{})
	if err != nil {
		return false, err
	}
	_, err = p.s.remove(ctx, key, first.ETag)
	if err == nil || isUnsupported(err) {
		return false, nil
	}
	if !errors.Is(class(err), store.ErrPrecondition) {
		return false, p.s.fail(ctx, "delete", key, err)
	}
	_, err = p.s.remove(ctx, key, second.ETag)
	if err == nil {
		return true, nil
	}
	return false, p.s.fail(ctx, "delete", key, err)
}

func (p *probe) checksums(ctx context.Context) (bool, error) {
	content := []byte("content")
	opts := putOptions(nil)
	opts.UserMetadata[checksumHeader] = encodeCRC(updateCRC(0, []byte("other content")))
	key := p.key("checksum")
	_, err := p.s.client.PutObject(ctx, p.s.bucket, key, bytes.NewReader(content), int64(len(content)), "", "", opts)
	switch {
	case err == nil:
		return false, nil // taken although it is wrong
	case isUnsupported(err):
		return false, nil
	case answer(err).StatusCode != http.StatusBadRequest:
		return false, p.s.fail(ctx, "upload", key, err)
	}
	// Refused. Is the right one kept, and handed out again?
	if _, err := p.put(ctx, key, "content", store.Condition{}); err != nil {
		return false, err
	}
	body, info, err := p.s.get(ctx, key, "", nil)
	if err != nil {
		return false, p.s.fail(ctx, "read", key, err)
	}
	body.Close()
	return info.ChecksumCRC64NVME == encodeCRC(updateCRC(0, content)), nil
}

// checksumsOfParts sends a part with a checksum that is not its own.
func (p *probe) checksumsOfParts(ctx context.Context) (bool, error) {
	key := p.key("checksum of a part")
	opts := putOptions(nil)
	opts.UserMetadata[checksumAlgorithm], opts.UserMetadata[checksumType] = checksumName, checksumFullObject
	id, err := p.s.client.NewMultipartUpload(ctx, p.s.bucket, key, opts)
	if err != nil {
		return false, p.s.fail(ctx, "upload", key, err)
	}
	_, err = p.s.client.PutObjectPart(ctx, p.s.bucket, key, id, 1, strings.NewReader("content"), int64(len("content")), minio.PutObjectPartOptions{
		DisableContentSha256: true,
		CustomHeader:         http.Header{http.CanonicalHeaderKey(checksumHeader): {encodeCRC(updateCRC(0, []byte("other content")))}},
	})
	_ = p.s.tidy(ctx, key, id) // which not everybody may
	switch {
	case err == nil, isUnsupported(err):
		return false, nil // taken although it is wrong
	case answer(err).StatusCode != http.StatusBadRequest:
		return false, p.s.fail(ctx, "upload", key, err)
	}
	return true, nil
}

func (p *probe) metadata(ctx context.Context) (bool, error) {
	return p.keepsMetadata(ctx, p.key("metadata"), "content")
}

func (p *probe) keepsMetadata(ctx context.Context, key, content string) (bool, error) {
	if _, err := p.put(ctx, key, content, store.Condition{}); err != nil {
		return false, err
	}
	o, err := p.s.Stat(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	return err == nil && o.Metadata["mtime"] == probeTime, nil
}

// lasting looks for the one sign that can be seen of a store that keeps the
// metadata in its own memory. Such a one is `rclone serve s3`, which keeps
// objects as plain files and "stores nothing but the objects": it makes the
// mtime of the metadata the file's own, the rest "is kept in memory as a best
// effort, and lost on restart", and so are checksums; see
// https://rclone.org/commands/rclone_serve_s3/#design-goals. All others say of
// an object when it was uploaded, which was not in 1970.
func (p *probe) lasting(ctx context.Context) (bool, error) {
	key := p.key("lasting")
	if _, err := p.put(ctx, key, "content", store.Condition{}); err != nil {
		return false, err
	}
	o, err := p.s.Stat(ctx, key)
	if err != nil {
		return false, err
	}
	return o.Metadata["mtime"] == probeTime && o.LastModified.Unix() != 1, nil
}

func (p *probe) versioning(ctx context.Context) (bool, error) {
	v, err := p.s.client.GetBucketVersioning(ctx, p.s.bucket)
	switch {
	case err == nil:
		return v.Enabled(), nil
	case isUnsupported(err):
		return false, nil
	case !errors.Is(class(err), store.ErrAccessDenied):
		return false, p.s.fail(ctx, "look at the versions of", "", err)
	}
	// Credentials that may not ask are common. The answer to a write tells, too;
	// "null" is the name of what a bucket keeps while its versions are suspended.
	key := p.key("version")
	o, err := p.s.client.PutObject(ctx, p.s.bucket, key, strings.NewReader("version"), int64(len("version")), "", "", putOptions(nil))
	if err != nil {
		return false, p.s.fail(ctx, "upload", key, err)
	}
	return o.VersionID != "" && o.VersionID != "null", nil
}

// fileAndFolder is only true if a listing shows both: see hidden.go.
func (p *probe) fileAndFolder(ctx context.Context) (bool, error) {
	file, below := p.key("both"), p.key("both/below")
	if _, err := p.put(ctx, file, "file", store.Condition{}); err != nil {
		return false, err
	}
	if _, err := p.put(ctx, below, "below", store.Condition{}); err != nil {
		if errors.Is(err, store.ErrKeyConflict) {
			return false, nil
		}
		return false, err
	}
	var keys []string
	for o, err := range p.s.List(ctx, file) {
		if err != nil {
			return false, err
		}
		keys = append(keys, o.Key)
	}
	return slices.Equal(keys, []string{file, below}), nil
}

func (p *probe) folderObjects(ctx context.Context) (bool, error) {
	return p.keepsMetadata(ctx, p.key("folder/"), "")
}

// clean removes everything, children before parents, every version of it
// where the bucket keeps versions.
func (p *probe) clean(ctx context.Context) error {
	var failed error
	for i := len(p.keys) - 1; i >= 0; i-- {
		if err := p.s.Delete(ctx, p.keys[i], ""); err != nil && failed == nil {
			failed = err
		}
	}
	// What a file has hidden comes to light when the last of its versions is
	// gone, hence the rounds.
	for range 3 {
		found := false
		versions := p.s.client.ListObjectsIter(ctx, p.s.bucket, minio.ListObjectsOptions{
			Prefix: p.folder, Recursive: true, WithVersions: true,
		})
		for v := range versions {
			if v.Err != nil {
				return failed // without versions nothing is left, and without the right to list them no more can be done
			}
			found = true
			_ = p.s.client.RemoveObject(ctx, p.s.bucket, v.Key, minio.RemoveObjectOptions{VersionID: v.VersionID})
		}
		if !found {
			break
		}
	}
	return failed
}
