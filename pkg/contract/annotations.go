package contract

import "time"

// AnnotationPrefix is the domain of every annotation that people write on a
// pod template. A key under it that is not in [Annotations] is an error.
const AnnotationPrefix = "minio-sidecar/"

// Annotation keys, without [AnnotationPrefix].
const (
	Bucket          = "bucket"
	Inject          = "inject"
	Prefix          = "prefix"
	Path            = "path"
	Volume          = "volume"
	Containers      = "containers"
	Endpoint        = "endpoint"
	Region          = "region"
	Secret          = "secret"
	Mode            = "mode"
	Delete          = "delete"
	Include         = "include"
	Exclude         = "exclude"
	SizeLimit       = "size-limit"
	Medium          = "medium"
	CreateBucket    = "create-bucket"
	RestoreAt       = "restore-at"
	RestoreTimeout  = "restore-timeout"
	FlushTimeout    = "flush-timeout"
	ScanInterval    = "scan-interval"
	BandwidthLimit  = "bandwidth-limit"
	CPURequest      = "cpu-request"
	CPULimit        = "cpu-limit"
	MemoryRequest   = "memory-request"
	MemoryLimit     = "memory-limit"
	RunAsUser       = "run-as-user"
	RunAsGroup      = "run-as-group"
	NativeSidecar   = "native-sidecar"
	MetricsPort     = "metrics-port"
	Image           = "image"
	ImagePullPolicy = "image-pull-policy"
	LogLevel        = "log-level"

	// Status is written by the webhook, never by people: JSON with the
	// version, what was added, and the resolved settings.
	Status = "status"
)

// Annotations are all keys that work, in the order in which documentation
// lists them. A key is added here on the day it does something.
func Annotations() []string {
	return []string{
		Bucket, Inject, Prefix, Path, Volume, Containers, Endpoint, Region,
		Secret, Mode, Delete, Include, Exclude, SizeLimit, Medium,
		CreateBucket, RestoreAt, RestoreTimeout, FlushTimeout, ScanInterval,
		BandwidthLimit, CPURequest, CPULimit, MemoryRequest, MemoryLimit, RunAsUser, RunAsGroup,
		NativeSidecar, MetricsPort, Image, ImagePullPolicy, LogLevel, Status,
	}
}

// Modes of a volume.
const (
	ModeShared   = "shared"    // any number of writers; every commit is conditional
	ModeReadOnly = "read-only" // restore only; never uploads or deletes
)

// Modes are the allowed values of [Mode].
func Modes() []string { return []string{ModeShared, ModeReadOnly} }

// Values of [NativeSidecar].
const (
	NativeAuto  = "auto" // by the versions of the API server and of every node
	NativeTrue  = "true"
	NativeFalse = "false"
)

// MinBandwidthLimit is the least that [BandwidthLimit] can be, in bytes per
// second. Less is rather a forgotten unit than a wish, and so many connections
// would share it that stores take each for dead.
const MinBandwidthLimit = 64 << 10

// Defaults of the annotations that have one.
const (
	DefaultPath          = "/data"
	DefaultRegion        = "us-east-1"
	DefaultSecret        = "minio-sidecar"
	DefaultMode          = ModeShared
	DefaultDelete        = true
	DefaultFlushTimeout  = 60 * time.Second
	DefaultScanInterval  = 5 * time.Minute
	DefaultCPURequest    = "10m"
	DefaultMemoryRequest = "32Mi"
	DefaultMemoryLimit   = "256Mi"
	DefaultLogLevel      = "info"
	DefaultNativeSidecar = NativeAuto
)
