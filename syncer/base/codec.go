package base

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

// A record is a format byte, a CRC-32C over the key and all that follows, and
// then varints: kind, size, mtime, ctime, inode, permissions, owner, group,
// mtime attribute; the ETag ends it, as 16 raw bytes where it is a plain MD5
// (most are) to keep a million records small.
const (
	recordMD5  = 1 // ETag is 16 bytes of MD5
	recordText = 2 // ETag is text

	recordHead = 1 + crc32.Size
)

var (
	errRecord  = errors.New("record is damaged")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func encode(e entry.Base) []byte {
	b := make([]byte, recordHead, 80)
	l, a := e.Local, e.Attrs
	b = binary.AppendUvarint(b, uint64(l.Kind))
	b = binary.AppendVarint(b, l.Size)
	b = appendTime(b, l.MTime)
	b = appendTime(b, l.CTime)
	b = binary.AppendUvarint(b, l.Inode)
	b = binary.AppendUvarint(b, uint64(a.Perm))
	b = binary.AppendUvarint(b, uint64(a.UID))
	b = binary.AppendUvarint(b, uint64(a.GID))
	b = appendTime(b, a.MTime)
	if sum, err := hex.DecodeString(e.ETag); err == nil && len(sum) == 16 && hex.EncodeToString(sum) == e.ETag {
		b[0] = recordMD5
		b = append(b, sum...)
	} else {
		b[0] = recordText
		b = append(b, e.ETag...)
	}
	binary.LittleEndian.PutUint32(b[1:], checksum(e.Key, b))
	return b
}

func checksum(key string, record []byte) uint32 {
	sum := crc32.Update(0, castagnoli, []byte(key))
	return crc32.Update(sum, castagnoli, record[recordHead:])
}

func appendTime(b []byte, t entry.Time) []byte {
	return binary.AppendUvarint(binary.AppendVarint(b, t.Sec), uint64(t.Nsec))
}

func decode(key string, b []byte) (entry.Base, error) {
	if len(b) < recordHead || b[0] != recordMD5 && b[0] != recordText ||
		binary.LittleEndian.Uint32(b[1:]) != checksum(key, b) {
		return entry.Base{}, errRecord
	}
	r := reader{b: b[recordHead:]}
	e := entry.Base{Key: key}
	e.Local.Kind = entry.Kind(r.uvarint())
	e.Local.Size = r.varint()
	e.Local.MTime = r.time()
	e.Local.CTime = r.time()
	e.Local.Inode = r.uvarint()
	e.Attrs.Perm = uint32(r.uvarint())
	e.Attrs.UID = uint32(r.uvarint())
	e.Attrs.GID = uint32(r.uvarint())
	e.Attrs.MTime = r.time()
	if r.bad || b[0] == recordMD5 && len(r.b) != 16 {
		return entry.Base{}, errRecord
	}
	if b[0] == recordMD5 {
		e.ETag = hex.EncodeToString(r.b)
	} else {
		e.ETag = string(r.b)
	}
	return e, nil
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	return take(r, v, n)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	return take(r, v, n)
}

func (r *reader) time() entry.Time {
	return entry.Time{Sec: r.varint(), Nsec: int32(r.uvarint())}
}

func take[T any](r *reader, v T, n int) T {
	if n <= 0 {
		r.bad, r.b = true, nil
		return v
	}
	r.b = r.b[n:]
	return v
}
