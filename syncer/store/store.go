// Package store says what the syncer's engine needs of an object store.
//
// Every method is safe for concurrent use. Errors name the action and the key
// and can be told apart with errors.Is against the Err values below; an error
// that is none of them is a failure that is worth retrying.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// The ways in which a store says no.
var (
	// ErrNotFound: there is no object of that key.
	ErrNotFound = errors.New("no such object")
	// ErrNoBucket: the bucket does not exist.
	ErrNoBucket = errors.New("no such bucket")
	// ErrAccessDenied: the credentials are missing, wrong, expired or not
	// allowed to do this.
	ErrAccessDenied = errors.New("access denied")
	// ErrClock is an ErrAccessDenied that no credentials mend: a request says
	// when it was signed, and the store's clock says something else.
	ErrClock = fmt.Errorf("%w: the clocks of this machine and of the store differ by more than the store accepts", ErrAccessDenied)
	// ErrPrecondition: the condition of a write or read did not hold: the
	// object is not what the caller thought. Not a failure: look again.
	ErrPrecondition = errors.New("object has changed meanwhile")
	// ErrUnreachable: no answer that came from the store itself, or a 5xx.
	ErrUnreachable = errors.New("store unreachable")
	// ErrBusy: it says that it has too much to do. It is ErrUnreachable, too;
	// but fewer requests at a time would get more done.
	ErrBusy = fmt.Errorf("%w: it is busy", ErrUnreachable)
	// ErrFull: the store, or the quota of the bucket, has no room.
	ErrFull = errors.New("store full or quota reached")
	// ErrKeyRejected: the store will never take this key.
	ErrKeyRejected = errors.New("store does not accept this name")
	// ErrKeyConflict: the store has no room for both a and a/b.
	ErrKeyConflict = errors.New("a file and a folder of one name")
	// ErrNoVersions: the bucket does not keep what is overwritten or deleted.
	ErrNoVersions = errors.New("the bucket keeps no versions")
	// ErrRefused: the store has answered that it has not done it. It comes with
	// errors of Upload besides what else they are, or are not. Without it, and
	// if Commit was called, the object may be written, or yet be.
	ErrRefused = errors.New("the store has refused")
	// ErrBodyChanged: the body of an upload is not what it was to be.
	ErrBodyChanged = errors.New("content is not what was to be uploaded")
	// ErrDamaged: the bytes are not those that the checksum was made of.
	ErrDamaged = errors.New("checksum mismatch")
)

// MaxKey is how long a key may be, in bytes, in all of S3; see
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html.
const MaxKey = 1024

// Object is what the store says of one key.
type Object struct {
	Key          string // full key, prefix included
	Size         int64
	ETag         string // without quotes
	LastModified time.Time
	// Metadata is the user metadata, keys in lower case without x-amz-meta-.
	// nil means that the source did not say, as listings do not.
	Metadata map[string]string
}

// Condition guards a write. The zero value lets every write through.
type Condition struct {
	IfMatch  string // only if the object has this ETag now
	IfAbsent bool   // only if there is no object now
}

// Upload is one object to be written.
type Upload struct {
	Key      string
	Body     io.ReaderAt
	Size     int64
	Metadata map[string]string
	Condition
	// CRC64NVME, where set, is the checksum that Body must have as it is sent:
	// ErrBodyChanged if it has another, before Commit is called.
	CRC64NVME *uint64
	// Commit, where set, is called once: after the last byte of Body has been
	// read and before the write becomes visible. An error from it aborts the
	// upload, leaves the key as it was, and is returned (wrapped).
	Commit func() error
	// Begun, where set, is called if the object goes in parts, with the id that
	// the store gave to this, before the first part is sent; an error from it
	// aborts the upload. Ended is called as soon as it is certain that no part
	// of it is left behind. Without it, see [Store.AbortUpload].
	Begun func(id string) error
	Ended func(id string)
}

// Reader is what can be asked of a bucket, as it is or as it was.
type Reader interface {
	// List yields the objects whose keys begin with prefix, in byte order of
	// their keys. After the first error nothing more is yielded: a listing
	// without an error is complete.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Stat looks one object up, with its metadata.
	Stat(ctx context.Context, key string) (Object, error)
	// Read returns a small object whole, checked.
	Read(ctx context.Context, key string) ([]byte, Object, error)
	// Download writes the object to dst, checked against the store's checksum
	// (or the ETag where that is an MD5), large ones as parallel ranges. If
	// etag is not empty only that state is fetched, else ErrPrecondition.
	// size is what the listing said; dst is written within [0, size) and an
	// object of another size is ErrPrecondition. The returned Object carries
	// the metadata.
	Download(ctx context.Context, key, etag string, size int64, dst io.WriterAt) (Object, error)
}

// A bucket as it was (see [Store.At]) has several states of one key with one
// ETag: the same content, written twice with other metadata. So its ETags name
// the version as well: "<etag> <version>". No ETag has a blank in it, see
// https://www.rfc-editor.org/rfc/rfc9110#name-etag.
const versionMark = " "

// VersionETag is the ETag of one version of an object.
func VersionETag(etag, version string) string { return etag + versionMark + version }

// SplitETag takes apart what [VersionETag] has put together. An ETag that names
// no version comes back as it is.
func SplitETag(etag string) (plain, version string) {
	plain, version, _ = strings.Cut(etag, versionMark)
	return plain, version
}

// Store is one bucket.
type Store interface {
	Reader

	// CheckListed is for an object that an upload whose answer got lost has
	// brought: it returns nil if a listing shows it. One that none shows is
	// removed, and the error is that which Upload would have had.
	CheckListed(ctx context.Context, key, etag string) error
	// CheckBucket returns nil, ErrNoBucket, ErrAccessDenied or ErrUnreachable.
	CheckBucket(ctx context.Context) error
	// CreateBucket creates the bucket, versioned where the store can. It is
	// no error when the bucket exists and belongs to the caller.
	CreateBucket(ctx context.Context) error

	// At is the bucket as it was at t by the store's own clock, that moment
	// included. What it yields has the ETags of [VersionETag], and takes only
	// those. ErrNoVersions if the bucket does not keep every version.
	At(ctx context.Context, t time.Time) (Reader, error)

	// Upload writes one object; see [Upload]. The returned Object has at
	// least Key, Size and ETag.
	Upload(ctx context.Context, u Upload) (Object, error)
	// Delete removes the object if it still has this ETag (any, if empty):
	// ErrPrecondition otherwise. An object that is already gone is no error.
	// Where the store has no conditional delete the check precedes it, and a
	// write in between is deleted; if the bucket keeps versions, and the caller
	// may list and delete them, it is brought back.
	Delete(ctx context.Context, key, etag string) error

	// AbortUpload drops one unfinished multipart upload of the key, if it is
	// still there.
	AbortUpload(ctx context.Context, key, id string) error
	// AbortUploads drops the unfinished multipart uploads below prefix that
	// were begun at least olderThan ago, by the store's clock, and returns how
	// many it dropped. A store that has no such thing has nothing to drop.
	AbortUploads(ctx context.Context, prefix string, olderThan time.Duration) (int, error)

	// ConditionalWrites tries out, as Abilities does, only whether conditions
	// are honoured, by single and by multipart uploads.
	ConditionalWrites(ctx context.Context, prefix string) (bool, error)
	// Abilities tries out what the store can do with objects below prefix,
	// and removes what it wrote.
	Abilities(ctx context.Context, prefix string) (Abilities, error)
}

// Abilities is what a store was seen to do.
type Abilities struct {
	ConditionalPut       bool // If-None-Match: * and If-Match on PutObject
	ConditionalMultipart bool // the same on CompleteMultipartUpload
	ConditionalDelete    bool // If-Match on DeleteObject
	Checksums            bool // takes and checks a full-object checksum
	ChecksumsOfParts     bool // checks those of the parts of a multipart upload
	Metadata             bool // hands out user metadata as it was given
	Lasting              bool // is not seen to keep metadata and checksums in its memory alone
	Versioning           bool // the bucket keeps versions
	FileAndFolder        bool // holds and lists both a and a/b
	FolderObjects        bool // keeps an empty object dir/ with its metadata
}
