package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
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
	// parts is set where want is the digest of the parts' digests. It can be
	// checked once partLength, of all parts but the last, is known.
	parts      int64
	partLength int64
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
	_, parts := cutParts(info.ETag)
	// Older stores do not say which type a checksum is.
	composite := info.ChecksumMode == "COMPOSITE" || info.ChecksumMode == "" && parts > 0
	for _, p := range preferred {
		text, own := cutParts(info.Checksum(p.kind))
		want, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(want) == 0 || len(want) != p.kind.RawByteLen() {
			continue
		}
		d := digest{name: p.kind.String(), newHash: p.kind.Hasher, want: want, crc: p.crc}
		if composite && p.kind != minio.ChecksumCRC64NVME || own > 0 {
			d.crc, d.parts = polynomial{}, max(parts, own)
		}
		return d
	}
	if isMD5(info) {
		text, parts := cutParts(info.ETag)
		if want, err := hex.DecodeString(text); err == nil && len(want) == md5.Size {
			return digest{name: "MD5", newHash: md5.New, want: want, parts: parts}
		}
	}
	return digest{}
}

// cutParts cuts the number of parts off a digest of digests: "…-12".
func cutParts(text string) (string, int64) {
	before, after, _ := strings.Cut(text, "-")
	parts, err := strconv.ParseInt(after, 10, 64)
	if err != nil || parts < 1 || parts > maxParts {
		return text, 0
	}
	return before, parts
}

// isMD5 says whether the ETag is made of MD5s of the content: not when the
// store encrypted the object with a key of the customer's or of a key service.
func isMD5(info minio.ObjectInfo) bool {
	const encryption = "X-Amz-Server-Side-Encryption"
	return !strings.HasPrefix(info.Headers.Get(encryption), "aws:kms") &&
		info.Headers.Get(encryption+"-Customer-Algorithm") == ""
}

// known says whether there is anything to check, as far as is known.
func (d digest) known() bool {
	return d.newHash != nil && (d.parts == 0 || d.partLength > 0)
}

// piecewise says whether hashes of pieces are as good as that of the whole.
func (d digest) piecewise() bool { return d.crc.bits != 0 || d.parts > 0 }

// hasher hashes the whole for d.
func (d digest) hasher() hash.Hash {
	if d.known() && d.parts > 0 {
		return &compositeHash{newHash: d.newHash, part: d.newHash(), partLength: d.partLength}
	}
	return d.pieceHasher()
}

// pieceHasher hashes a piece for d; it swallows everything if d says nothing.
func (d digest) pieceHasher() hash.Hash {
	if !d.known() {
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

// checkPieces is check for pieces in their order, if d is piecewise.
func (d digest) checkPieces(pieces []piece) error {
	switch {
	case !d.known():
		return nil
	case d.parts > 0:
		h := d.newHash()
		for _, p := range pieces {
			h.Write(p.sum)
		}
		return d.check(h.Sum(nil))
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

// compositeHash is the hash of the hashes of parts.
type compositeHash struct {
	newHash    func() hash.Hash
	part       hash.Hash
	partLength int64
	inPart     int64  // bytes of the present part so far
	sums       []byte // of the parts before
}

func (c *compositeHash) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if c.inPart == c.partLength {
			c.sums = c.part.Sum(c.sums)
			c.part.Reset()
			c.inPart = 0
		}
		take := min(int64(len(b)), c.partLength-c.inPart)
		c.part.Write(b[:take])
		c.inPart += take
		b = b[take:]
	}
	return n, nil
}

func (c *compositeHash) Sum(b []byte) []byte {
	h := c.newHash()
	h.Write(c.part.Sum(bytes.Clone(c.sums)))
	return h.Sum(b)
}

func (c *compositeHash) Reset() {
	c.part.Reset()
	c.inPart, c.sums = 0, nil
}

func (c *compositeHash) Size() int      { return c.part.Size() }
func (c *compositeHash) BlockSize() int { return c.part.BlockSize() }

// discard is a hash of nothing.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Sum(b []byte) []byte         { return b }
func (discard) Reset()                      {}
func (discard) Size() int                   { return 0 }
func (discard) BlockSize() int              { return 1 }
