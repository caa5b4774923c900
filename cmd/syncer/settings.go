package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// settings are what command line and environment say, each value checked.
type settings struct {
	bucket, prefix, endpoint, region string
	path, stateDir, credentialsDir   string
	mode                             string
	delete, createBucket             bool
	include, exclude                 []string
	restoreAt                        time.Time     // zero: the present
	restoreTimeout                   time.Duration // 0: none
	flushTimeout, shutdownQuiet      time.Duration
	reportAfter                      time.Duration
	scanInterval                     time.Duration
	bandwidthLimit                   int64  // bytes per second each way; 0: none
	metricsAddress                   string // "": none
	concurrency                      int
	logLevel, logFormat              string
}

func defaultSettings() settings {
	return settings{
		region:         contract.DefaultRegion,
		mode:           contract.DefaultMode,
		delete:         contract.DefaultDelete,
		flushTimeout:   contract.DefaultFlushTimeout,
		scanInterval:   contract.DefaultScanInterval,
		metricsAddress: contract.MetricsAddress(contract.DefaultMetricsPort),
		concurrency:    contract.DefaultConcurrency,
		logLevel:       contract.DefaultLogLevel,
	}
}

// Which settings go together.
var (
	storeFlags  = []string{contract.FlagBucket, contract.FlagPrefix, contract.FlagEndpoint, contract.FlagRegion, contract.FlagCredentialsDir}
	volumeFlags = []string{contract.FlagPath, contract.FlagStateDir}
	ruleFlags   = []string{contract.FlagMode, contract.FlagInclude, contract.FlagExclude, contract.FlagConcurrency, contract.FlagBandwidthLimit}
	logFlags    = []string{contract.FlagLogLevel, contract.FlagLogFormat}
	// whichFlags say which sync is meant.
	whichFlags = []string{contract.FlagStateDir, contract.FlagPath, contract.FlagBucket, contract.FlagPrefix, contract.FlagEndpoint}
)

// define adds the named settings to flags.
func (s *settings) define(flags *pflag.FlagSet, groups ...[]string) {
	for _, names := range groups {
		for _, name := range names {
			f := flags.VarPF(s.value(name), name, "", usageOf(name))
			if f.Value.Type() == boolKind().name {
				f.NoOptDefVal = "true"
			}
		}
	}
}

// value is the setting of that name.
func (s *settings) value(name string) pflag.Value {
	switch name {
	case contract.FlagBucket:
		return &value[string]{bucketKind(), name, &s.bucket}
	case contract.FlagPrefix:
		return &value[string]{prefixKind(), name, &s.prefix}
	case contract.FlagEndpoint:
		return &value[string]{endpointKind(), name, &s.endpoint}
	case contract.FlagRegion:
		return &value[string]{regionKind(), name, &s.region}
	case contract.FlagPath:
		return &value[string]{folderKind(), name, &s.path}
	case contract.FlagStateDir:
		return &value[string]{folderKind(), name, &s.stateDir}
	case contract.FlagCredentialsDir:
		return &value[string]{folderKind(), name, &s.credentialsDir}
	case contract.FlagMode:
		return &value[string]{oneOfKind(contract.Modes()...), name, &s.mode}
	case contract.FlagDelete:
		return &value[bool]{boolKind(), name, &s.delete}
	case contract.FlagInclude:
		return &listValue{value: value[[]string]{patternsKind(), name, &s.include}}
	case contract.FlagExclude:
		return &listValue{value: value[[]string]{patternsKind(), name, &s.exclude}}
	case contract.FlagCreateBucket:
		return &value[bool]{boolKind(), name, &s.createBucket}
	case contract.FlagRestoreAt:
		return &value[time.Time]{momentKind(), name, &s.restoreAt}
	case contract.FlagRestoreTimeout:
		return &value[time.Duration]{durationKind(0), name, &s.restoreTimeout}
	case contract.FlagFlushTimeout:
		return &value[time.Duration]{durationKind(0), name, &s.flushTimeout}
	case contract.FlagShutdownQuiet:
		return &value[time.Duration]{durationKind(0), name, &s.shutdownQuiet}
	case contract.FlagReportAfter:
		return &value[time.Duration]{durationKind(0), name, &s.reportAfter}
	case contract.FlagScanInterval:
		return &value[time.Duration]{durationKind(time.Second), name, &s.scanInterval}
	case contract.FlagBandwidthLimit:
		return &value[int64]{rateKind(), name, &s.bandwidthLimit}
	case contract.FlagMetricsAddress:
		return &value[string]{addressKind(), name, &s.metricsAddress}
	case contract.FlagConcurrency:
		return &value[int]{intKind(1, contract.MaxConcurrency), name, &s.concurrency}
	case contract.FlagLogLevel:
		return &value[string]{oneOfKind(contract.LogLevels()...), name, &s.logLevel}
	case contract.FlagLogFormat:
		return &value[string]{oneOfKind(contract.LogFormats()...), name, &s.logFormat}
	}
	panic("no such setting: " + name)
}

func usageOf(name string) string {
	return map[string]string{
		contract.FlagBucket:         "the bucket",
		contract.FlagPrefix:         "key prefix inside the bucket",
		contract.FlagEndpoint:       "the store: http://host:port or https://host:port",
		contract.FlagRegion:         "region of the store",
		contract.FlagPath:           "the folder; made if it is missing",
		contract.FlagStateDir:       "where to remember what folder and bucket agreed on (default: in the user's cache folder)",
		contract.FlagCredentialsDir: "folder with the files access-key, secret-key and, if need be, session-token and ca.crt (default: the AWS_… variables)",
		contract.FlagMode:           "shared: both sides may change; read-only: the bucket is never changed",
		contract.FlagDelete:         "apply deletions in the folder to the bucket; --delete=false: do not",
		contract.FlagInclude:        "comma-separated globs of what takes part (default: everything)",
		contract.FlagExclude:        "comma-separated globs of what does not; wins over --include",
		contract.FlagCreateBucket:   "create the bucket if it is missing",
		contract.FlagRestoreAt:      "restore the versions that were current then (RFC 3339), once; the bucket must keep versions",
		contract.FlagRestoreTimeout: "give up after so long without progress; 0: never",
		contract.FlagFlushTimeout:   "time for the last flush, after SIGTERM",
		contract.FlagShutdownQuiet:  "end the last flush only after nothing has changed for so long",
		contract.FlagReportAfter:    "end once with code 5 when the store has not answered for so long, and wait when started again; 0: always wait",
		contract.FlagScanInterval:   "time between full scans of the folder",
		contract.FlagBandwidthLimit: "bytes per second each way, such as 10Mi; 0: no limit",
		contract.FlagMetricsAddress: "where to serve /metrics, /healthz and POST /flush; 0: nowhere",
		contract.FlagConcurrency:    "transfers at a time, at most",
		contract.FlagLogLevel:       "the least that is logged",
		contract.FlagLogFormat:      "how it is logged (default: text on a terminal, else json)",
	}[name]
}

// bind gives every setting among flags that the command line does not name the
// value of its environment variable, where there is one. A variable that is
// there but empty counts as not being there, because that is how scripts and
// manifests leave one out.
func bind(flags *pflag.FlagSet, lookup func(string) (string, bool)) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Changed || !contract.IsFlag(f.Name) {
			return
		}
		if text, ok := lookup(contract.EnvName(f.Name)); ok && text != "" {
			err = f.Value.Set(text)
		}
	})
	return err
}

// require reports the first of the named settings that is missing.
func (s *settings) require(names ...string) error {
	for _, name := range names {
		v := s.value(name)
		if v.String() != "" {
			continue
		}
		must := ""
		if typed, ok := v.(*value[string]); ok {
			must = typed.must
		}
		return &badSetting{flag: name, must: must, missing: true}
	}
	return nil
}
