package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/minio/crc64nvme"
	"github.com/minio/minio-go/v7"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// Headers of S3's additional checksums, see
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html.
// CRC64NVME is the one that is always of the whole object, also after a
// multipart upload, and that S3 itself adds where the client does not.
const (
	checksumHeader     = "x-amz-checksum-crc64nvme"
	checksumAlgorithm  = "x-amz-checksum-algorithm"
	checksumType       = "x-amz-checksum-type"
	checksumName       = "CRC64NVME"
	checksumFullObject = "FULL_OBJECT"

	// What makes a store say its checksums in answers.
	checksumMode    = "x-amz-checksum-mode"
	checksumEnabled = "ENABLED"
)

// encodeCRC is a checksum as its header has it.
func encodeCRC(sum uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, sum))
}

func updateCRC(sum uint64, b []byte) uint64 { return crc64nvme.Update(sum, b) }

// digest is what the store said of the content of a whole object.
// The zero value says nothing.
type digest struct {
	name    string
	newHash func() hash.Hash
	want    []byte
	// crc is set where digests of pieces can be combined.
	crc polynomial
}

// preferred lists the checksums by what they cost to verify.
var preferred = []struct {
	kind minio.ChecksumType
	crc  polynomial
}{
	{minio.ChecksumCRC64NVME, crc64NVMEPoly},
	{minio.ChecksumCRC32C, crc32CPoly},
	{minio.ChecksumCRC32, crc32Poly},
	{minio.ChecksumSHA1, polynomial{}},
	{minio.ChecksumSHA256, polynomial{}},
}

// digestOf is the statement about the whole object that is cheapest to check.
func digestOf(info minio.ObjectInfo) digest {
	// A composite checksum is one of the parts' checksums, and nobody says
	// where the parts begin. Older stores do not say which type theirs is;
	// then a multipart ETag has a dash.
	composite := info.ChecksumMode == "COMPOSITE" ||
		info.ChecksumMode == "" && info.ChecksumCRC64NVME == "" && strings.Contains(info.ETag, "-")
	if !composite {
		for _, p := range preferred {
			want, err := base64.StdEncoding.DecodeString(info.Checksum(p.kind))
			if err == nil && len(want) > 0 && len(want) == p.kind.RawByteLen() {
				return digest{name: p.kind.String(), newHash: p.kind.Hasher, want: want, crc: p.crc}
			}
		}
	}
	if want, ok := md5ETag(info); ok {
		return digest{name: "MD5", newHash: md5.New, want: want}
	}
	return digest{}
}

// md5ETag is the MD5 of the content, where the ETag is one: not after a
// multipart upload and not when the store encrypted the object with a key of
// the customer's or of a key service.
func md5ETag(info minio.ObjectInfo) ([]byte, bool) {
	const encryption = "X-Amz-Server-Side-Encryption"
	h := info.Headers
	if strings.HasPrefix(h.Get(encryption), "aws:kms") || h.Get(encryption+"-Customer-Algorithm") != "" ||
		len(info.ETag) != 2*md5.Size {
		return nil, false
	}
	want, err := hex.DecodeString(info.ETag)
	return want, err == nil
}

// known says whether there is anything to check.
func (d digest) known() bool { return d.newHash != nil }

// combinable says whether digests of pieces make the digest of the whole.
func (d digest) combinable() bool { return d.crc.bits != 0 }

// hasher hashes for d; it swallows everything if d says nothing.
func (d digest) hasher() hash.Hash {
	if d.newHash == nil {
		return discard{}
	}
	return d.newHash()
}

// check compares the hash of what arrived.
func (d digest) check(got []byte) error {
	if d.known() && !bytes.Equal(got, d.want) {
		return fmt.Errorf("%w: the %s of what arrived is %x, of what was stored %x", store.ErrDamaged, d.name, got, d.want)
	}
	return nil
}

// piece is the hash of some bytes in the middle of an object.
type piece struct {
	sum    []byte
	length int64
}

// checkPieces is check for pieces in their order, if d is combinable.
func (d digest) checkPieces(pieces []piece) error {
	if !d.combinable() {
		return nil
	}
	var whole uint64
	for _, p := range pieces {
		whole = d.crc.combine(whole, bigEndian(p.sum), p.length)
	}
	return d.check(binary.BigEndian.AppendUint64(nil, whole)[8-d.crc.bits/8:])
}

func bigEndian(b []byte) uint64 {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// discard is a hash of nothing.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Sum(b []byte) []byte         { return b }
func (discard) Reset()                      {}
func (discard) Size() int                   { return 0 }
func (discard) BlockSize() int              { return 1 }
