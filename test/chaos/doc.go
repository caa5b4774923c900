// Package chaos is the checker that tries to break the promises: it lets an
// app work in a volume and the real syncer beside it, against a real store,
// while both and the way between them fail at random, and compares what is in
// the bucket and in restored volumes with what it knows to have happened.
//
//	go test ./test/chaos -chaos.seed=7 -chaos.duration=10m -timeout=20m
//
// Other tests kill restore and sync by the hundred, at moments that a gate on
// the way to the store chooses, and damage what the syncer remembers.
//
// A run is the work of its seed: what is chosen, not when. A failure prints
// the seed, the story of the path in question, and where everything is kept.
package chaos
