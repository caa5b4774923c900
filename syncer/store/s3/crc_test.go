package s3

import (
	"hash/crc32"
	"testing"

	"github.com/minio/crc64nvme"
	"pgregory.net/rapid"
)

func TestCombineIsTheChecksumOfTheWhole(t *testing.T) {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	kinds := map[string]struct {
		poly polynomial
		sum  func([]byte) uint64
	}{
		"CRC64NVME": {crc64NVMEPoly, crc64nvme.Checksum},
		"CRC32C":    {crc32CPoly, func(b []byte) uint64 { return uint64(crc32.Checksum(b, castagnoli)) }},
		"CRC32":     {crc32Poly, func(b []byte) uint64 { return uint64(crc32.ChecksumIEEE(b)) }},
	}
	for name, kind := range kinds {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			whole := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "bytes")
			cut := rapid.IntRange(0, len(whole)).Draw(t, "cut")
			got := kind.poly.combine(kind.sum(whole[:cut]), kind.sum(whole[cut:]), int64(len(whole)-cut))
			if want := kind.sum(whole); got != want {
				t.Fatalf("%d bytes cut at %d: %x, want %x", len(whole), cut, got, want)
			}
		}))
	}
}
