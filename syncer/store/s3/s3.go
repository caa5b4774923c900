// Package s3 is a [store.Store] over any S3-compatible object store, by way of
// minio-go. It is the only package of the syncer that knows minio-go.
//
// One call is one try: retrying, with backoff, is the caller's business, who
// knows how much a delay costs. The only exceptions are the parts of a large
// object, because repeating a whole terabyte for one lost packet would be
// absurd.
//
// A conditional write whose answer got lost may have happened. Repeating it
// then fails with [store.ErrPrecondition] because of its own first try, so a
// caller that gets that error looks at the object before calling it a
// conflict.
package s3

import (
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"golang.org/x/sync/semaphore"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// Limits of the S3 protocol.
const (
	minPartSize = 5 << 20 // of every part but the last
	maxParts    = 10_000
	maxSize     = 5 << 40
)

// Defaults of [Config].
const (
	defaultConcurrency  = 32
	defaultPartSize     = 16 << 20
	defaultStallTimeout = time.Minute
)

// Config says which bucket, and how to reach it.
type Config struct {
	// Endpoint is http://host[:port] or https://host[:port].
	Endpoint string
	// Region is the region to sign for; us-east-1 if empty.
	Region string
	Bucket string
	// Prefix is what the caller gives to [Store.List]. An upload that such a
	// listing would not show is refused, and an empty listing of it is checked.
	Prefix string

	// CredentialsDir holds the files access-key, secret-key and, optionally,
	// session-token and ca.crt. They are read again when they change.
	CredentialsDir string
	// Without a CredentialsDir these are used as they are.
	AccessKey, SecretKey, SessionToken string

	// Concurrency is how many calls the caller makes at a time; so many
	// connections are kept open. 32 if zero.
	Concurrency int
	// PartSize is the size in bytes of the pieces in which large objects
	// travel, at least 5 MiB; 16 MiB if zero. Objects of more than 10,000
	// pieces get larger ones.
	PartSize int64
	// StallTimeout is how long a connection may stand still in the middle of a
	// request before it is given up; one minute if zero.
	StallTimeout time.Duration
	// BandwidthLimit in bytes per second holds for what is sent and, by
	// itself, for what is received, over all connections together; 0: none.
	BandwidthLimit int64

	// App and Version name the program in the User-Agent header.
	App, Version string
}

// Store is one bucket of an S3-compatible store.
type Store struct {
	client *minio.Core
	creds  *credentialsDir // nil with static keys
	bucket string
	region string

	idle     idleTransport
	partSize int64
	// buffered bounds the bytes of small uploads that are held in memory.
	buffered *semaphore.Weighted
	// transfers bounds the pieces of large objects on their way at a time.
	transfers *semaphore.Weighted

	// wantsMD5: the store was seen not to check the checksums of parts.
	wantsMD5 atomic.Bool

	prefix  string
	clear   clearNames
	lasting lastingKnown
	// unchecked are the deletions by key of which it is not known yet what they
	// have hidden.
	unchecked sync.Map
}

var _ store.Store = (*Store)(nil)

// New returns the store of cfg. It sends nothing; see [Store.CheckBucket].
func New(cfg Config) (*Store, error) {
	u, err := parseEndpoint(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	if err := s3utils.CheckValidBucketName(cfg.Bucket); err != nil {
		return nil, fmt.Errorf("bucket %q: %w", cfg.Bucket, err)
	}
	if cfg.CredentialsDir == "" && (cfg.AccessKey == "" || cfg.SecretKey == "") {
		return nil, errors.New("no credentials: give a folder of them, or an access key and a secret key")
	}
	if cfg.Region == "" {
		cfg.Region = contract.DefaultRegion
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.PartSize == 0 {
		cfg.PartSize = defaultPartSize
	}
	if cfg.PartSize < minPartSize {
		return nil, fmt.Errorf("part size %d: S3 wants at least %d bytes", cfg.PartSize, int64(minPartSize))
	}
	if cfg.StallTimeout <= 0 {
		cfg.StallTimeout = defaultStallTimeout
	}

	s := &Store{
		bucket:    cfg.Bucket,
		region:    cfg.Region,
		prefix:    cfg.Prefix,
		partSize:  cfg.PartSize,
		buffered:  semaphore.NewWeighted(maxBuffered),
		transfers: semaphore.NewWeighted(int64(cfg.Concurrency)),
	}
	var provider *credentials.Credentials
	var transport idleTransport = newTransport(cfg)
	if cfg.CredentialsDir != "" {
		s.creds = newCredentialsDir(cfg.CredentialsDir)
		provider = credentials.New(s.creds)
		transport = &trustingTransport{creds: s.creds, base: newTransport(cfg)}
	} else {
		provider = credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, cfg.SessionToken)
	}
	transport = exchanging{guard{transport}}
	s.idle = transport
	s.client, err = minio.NewCore(u.Host, &minio.Options{
		Creds:     provider,
		Secure:    u.Scheme == "https",
		Transport: transport,
		// Known, so that minio-go does not ask for it before the first request.
		Region: cfg.Region,
		// Host names for the known clouds, paths everywhere else.
		BucketLookup: minio.BucketLookupAuto,
		MaxRetries:   1,
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint %q: %w", cfg.Endpoint, err)
	}
	s.client.SetAppInfo(cfg.App, cfg.Version)
	return s, nil
}

// Close lets go of the idle connections. The store can still be used.
func (s *Store) Close() { s.idle.CloseIdleConnections() }

// parseEndpoint takes http://host[:port] and https://host[:port] and nothing
// else: a path or a user name would be ignored without a word.
func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		u.User == nil && (u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == "" {
		return u, nil
	}
	return nil, fmt.Errorf("endpoint %q: want http://host:port or https://host:port, nothing after it", endpoint)
}
