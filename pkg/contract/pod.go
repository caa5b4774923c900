package contract

// Names of what the webhook adds to a pod.
const (
	RestoreContainer = "minio-sidecar-restore"
	SyncContainer    = "minio-sidecar-sync"

	DataVolume        = "minio-sidecar-data"
	StateVolume       = "minio-sidecar-state"
	CredentialsVolume = "minio-sidecar-credentials"
)

// Where the injected containers see their volumes. The app's containers see
// the data volume at the path that the annotation names.
const (
	DataMountPath        = "/minio-sidecar/data"
	StateMountPath       = "/minio-sidecar/state"
	CredentialsMountPath = "/minio-sidecar/credentials"
)

// Files in the credentials directory; they are the keys of the Secret.
const (
	AccessKeyFile    = "access-key"
	SecretKeyFile    = "secret-key"
	SessionTokenFile = "session-token" // optional
	CAFile           = "ca.crt"        // optional: PEM bundle that is trusted besides the system's
)

// SyncerBinary is the syncer's path in its image.
const SyncerBinary = "/syncer"

// TerminationMessagePath is where a failed container leaves one sentence for
// `kubectl describe pod`; it is the kubelet's default.
const TerminationMessagePath = "/dev/termination-log"

// SocketName is the control socket's name in the state directory.
const SocketName = "control.sock"

// Environment of the injected containers that is not a flag: the webhook lets
// Kubernetes fill these in and refers to them in the prefix.
const (
	PodNameEnv = EnvPrefix + "POD_NAME"
	OrdinalEnv = EnvPrefix + "ORDINAL"
)

// MetricsPortName is the metrics port's name in the pod.
const MetricsPortName = "minio-sidecar"

// DefaultMetricsPort serves /metrics, /healthz and POST /flush.
const DefaultMetricsPort = 9808

// Labels and annotations that the webhook reads or sets outside its prefix.
const (
	// InjectLabel on a namespace: "disabled" excludes it.
	InjectLabel = "minio-sidecar/inject"

	DefaultContainerAnnotation     = "kubectl.kubernetes.io/default-container"
	SafeToEvictVolumesAnnotation   = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
	NativeSidecarMinimumMinor      = 29 // Kubernetes 1.29: native sidecars are on by default
	NativeSidecarMinimumMajor      = 1
	OriginalGracePeriodUnspecified = 30 // seconds; the API server's default
)
