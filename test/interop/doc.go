// Package interop shows, with the real syncer, a real MinIO and the real mc and
// rclone, that others read what we write, that we read what they write, that
// every name and kind of file comes back or is reported, and that a bucket ends
// up equal to its volume whatever happens there, as those others see it.
//
//	go test ./test/interop
package interop
