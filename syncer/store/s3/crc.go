package s3

// polynomial is a CRC in the bit-reversed form in which hash/crc32 and
// hash/crc64 write them, with all ones at the start and inverted at the end.
type polynomial struct {
	bits uint
	poly uint64
}

var (
	crc64NVMEPoly = polynomial{64, 0x9a6c9329ac4bc9b5}
	crc32CPoly    = polynomial{32, 0x82f63b78}
	crc32Poly     = polynomial{32, 0xedb88320}
)

// combine is the CRC of two texts one after the other, of which the second is
// length bytes long, from the CRCs of each: that of the first is shifted past
// the second (multiplied by x to the power of its bits) and added to it.
func (p polynomial) combine(first, second uint64, length int64) uint64 {
	one := uint64(1) << (p.bits - 1) // x⁰: the highest bit, as all is reversed
	shift, power := one, one>>8      // x⁰ and x⁸
	for n := length; n > 0; n >>= 1 {
		if n&1 == 1 {
			shift = p.multiply(shift, power)
		}
		power = p.multiply(power, power)
	}
	return p.multiply(first, shift) ^ second
}

// multiply is a·b modulo p.
func (p polynomial) multiply(a, b uint64) uint64 {
	var product uint64
	for bit := uint64(1) << (p.bits - 1); bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= p.poly
		}
	}
	return product
}
