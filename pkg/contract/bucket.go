package contract

// Reserved is the folder that belongs to minio-sidecar: below the prefix in a
// bucket (presence of writers, probes, and accelerators that may be deleted
// without loss) and at the root of a volume (temporary files and the restore
// marker). It is never restored and never uploaded.
const Reserved = ".minio-sidecar/"

// WritersPrefix is where sync sidecars announce themselves, below the prefix.
const WritersPrefix = Reserved + "writers/"

// ProbePrefix is where the store's abilities are tried out, below the prefix.
const ProbePrefix = Reserved + "probe/"

// TravelPrefix is where restores of an earlier state leave word of their
// beginning and their end, below the prefix.
const TravelPrefix = Reserved + "restored-at/"

// DamagedPrefix is where word is left of objects that were found damaged, so
// that nobody takes them for deleted.
const DamagedPrefix = Reserved + "damaged/"

// IdentityKey is an object that tells a prefix from an emptied or re-created
// one of the same name, below the prefix.
const IdentityKey = Reserved + "identity"
