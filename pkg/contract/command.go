package contract

import (
	"slices"
	"strconv"
	"strings"
)

// Flag names of the syncer. Each is also an environment variable: see [EnvName].
const (
	FlagBucket         = "bucket"
	FlagPrefix         = "prefix"
	FlagEndpoint       = "endpoint"
	FlagRegion         = "region"
	FlagPath           = "path"
	FlagStateDir       = "state-dir"
	FlagCredentialsDir = "credentials-dir"
	FlagMode           = "mode"
	FlagDelete         = "delete"
	FlagInclude        = "include"
	FlagExclude        = "exclude"
	FlagCreateBucket   = "create-bucket"
	FlagRestoreAt      = "restore-at"
	FlagRestoreTimeout = "restore-timeout"
	FlagFlushTimeout   = "flush-timeout"
	FlagShutdownQuiet  = "shutdown-quiet"
	FlagReportAfter    = "report-after"
	FlagScanInterval   = "scan-interval"
	FlagBandwidthLimit = "bandwidth-limit"
	FlagMetricsAddress = "metrics-address"
	FlagConcurrency    = "concurrency"
	FlagLogLevel       = "log-level"
	FlagLogFormat      = "log-format"
)

// Flags are all settings, in the order in which documentation lists them.
func Flags() []string {
	return []string{
		FlagBucket, FlagPrefix, FlagEndpoint, FlagRegion, FlagPath, FlagStateDir,
		FlagCredentialsDir, FlagMode, FlagDelete, FlagInclude, FlagExclude,
		FlagCreateBucket, FlagRestoreAt, FlagRestoreTimeout, FlagFlushTimeout,
		FlagShutdownQuiet, FlagReportAfter, FlagScanInterval,
		FlagBandwidthLimit, FlagMetricsAddress, FlagConcurrency, FlagLogLevel, FlagLogFormat,
	}
}

// IsFlag reports whether name is a setting, and so an environment variable as
// well. What only steers one call of a command is not.
func IsFlag(name string) bool { return slices.Contains(Flags(), name) }

// EnvPrefix begins the name of every environment variable that the syncer reads.
const EnvPrefix = "MINIO_SIDECAR_"

// EnvName is the environment variable of a flag: "flush-timeout" is
// MINIO_SIDECAR_FLUSH_TIMEOUT. A flag on the command line wins over it.
func EnvName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Values of [FlagLogLevel] and [FlagLogFormat].
const (
	LogFormatText = "text"
	LogFormatJSON = "json"
)

// LogLevels are the allowed values of [FlagLogLevel] and [LogLevel].
func LogLevels() []string { return []string{"debug", "info", "warn", "error"} }

// LogFormats are the allowed values of [FlagLogFormat]. Without one it is text
// on a terminal and JSON elsewhere.
func LogFormats() []string { return []string{LogFormatText, LogFormatJSON} }

// Defaults of settings that are not annotations.
const (
	// DefaultConcurrency is how many paths are transferred at a time.
	DefaultConcurrency = 32
	MaxConcurrency     = 1024
)

// MetricsAddress is the value of [FlagMetricsAddress] for a port, 0 being
// none. It is on all addresses, because Prometheus scrapes the pod's; POST
// /flush is answered to loopback alone.
func MetricsAddress(port int) string {
	if port == 0 {
		return "0"
	}
	return ":" + strconv.Itoa(port)
}

// Exit codes of the syncer.
const (
	ExitOK           = 0
	ExitFailure      = 1 // differences found, or any failure without a code of its own
	ExitUsage        = 2
	ExitAccessDenied = 3
	ExitNoBucket     = 4
	ExitUnreachable  = 5
	ExitDamaged      = 6
	ExitVolumeFull   = 7
	ExitOtherWriter  = 8
)
