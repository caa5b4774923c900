// Command webhook is the admission webhook that puts the sidecar into annotated
// pods. It only reads flags and waits for signals; package webhook does the work.
//
// # Flags
//
// Every flag is also an environment variable, MINIO_SIDECAR_ and its name in
// capitals: --default-endpoint is MINIO_SIDECAR_DEFAULT_ENDPOINT. A flag wins.
//
//	--namespace NAME              own namespace (required)
//	--service NAME                own Service; the certificate is made for
//	                              NAME.NAMESPACE.svc (minio-sidecar-webhook)
//	--webhook-config NAME         MutatingWebhookConfiguration whose caBundle is
//	                              kept filled in (minio-sidecar-webhook)
//	--cert-source self-signed|files
//	                              self-signed: a CA and a certificate of our own,
//	                              in the Secret, renewed by itself; files: what
//	                              somebody else (cert-manager) keeps in --cert-dir,
//	                              and caBundle is theirs too (self-signed)
//	--cert-secret NAME            Secret in the own namespace for self-signed; must
//	                              exist, may be empty (minio-sidecar-webhook-cert)
//	--cert-dir DIR                tls.crt and tls.key; self-signed writes them, so
//	                              it must be writable then
//	                              (/run/minio-sidecar/certificate)
//	--webhook-port N              HTTPS, path /mutate-pods (9443)
//	--metrics-address ADDR        HTTP, /metrics; "0": none (:8080)
//	--health-address ADDR         HTTP, /healthz and /readyz (:8081)
//	--log-level LEVEL             of the webhook: debug, info, warn, error (info)
//
// Defaults for annotations that a pod does not set, checked like annotations:
// --default-KEY VALUE, for KEY in image (required), endpoint, region, secret,
// prefix, path, mode, delete, include, exclude, size-limit, medium,
// create-bucket, flush-timeout, scan-interval, cpu-request, cpu-limit,
// memory-request, memory-limit, native-sidecar, image-pull-policy, log-level.
//
// # What it needs in the cluster
//
// The rules in config/rbac, and for --cert-source=files only the one on nodes.
// No leader election: all replicas do the same, and writes are conditional on
// what was read.
package main

func main() {}
