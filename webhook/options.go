package webhook

import (
	"errors"
	"fmt"

	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

// Path at which pods are admitted.
const Path = "/mutate-pods"

// CertSource says where the serving certificate comes from.
type CertSource string

// The sources.
const (
	// CertSelfSigned: the webhook is its own authority. CA and certificate live
	// in a Secret, are renewed in time, and the CA is written into the webhook's
	// registration.
	CertSelfSigned CertSource = "self-signed"
	// CertFiles: somebody else, such as cert-manager, renews the files and fills
	// in the registration.
	CertFiles CertSource = "files"
)

// Options configure the webhook.
type Options struct {
	Namespace     string // the webhook's own
	Service       string // its Service; the certificate is made for it
	CertSecret    string // in Namespace; exists, may be empty; for CertSelfSigned
	WebhookConfig string // the MutatingWebhookConfiguration; for CertSelfSigned
	CertSource    CertSource
	CertDir       string   // tls.crt and tls.key; written to for CertSelfSigned
	CertNames     []string // further DNS names for the certificate

	Port           int    // HTTPS
	MetricsAddress string // "0": none
	HealthAddress  string

	// Defaults of the cluster, by annotation key without the prefix.
	Defaults map[string]string
	Version  string
}

// Check finds what is missing or wrong.
func (o Options) Check() error {
	var problems []error
	require := func(flag, value string) {
		if value == "" {
			problems = append(problems, fmt.Errorf("--%s is required", flag))
		}
	}
	require("cert-dir", o.CertDir)
	switch o.CertSource {
	case CertSelfSigned:
		require("namespace", o.Namespace)
		require("service", o.Service)
		require("cert-secret", o.CertSecret)
		require("webhook-config", o.WebhookConfig)
	case CertFiles:
	default:
		problems = append(problems, fmt.Errorf("--cert-source %q must be %q or %q", o.CertSource, CertSelfSigned, CertFiles))
	}
	if o.Port < 1 || o.Port > 65535 {
		problems = append(problems, fmt.Errorf("--webhook-port %d must be from 1 to 65535", o.Port))
	}
	if err := settings.CheckDefaults(o.Defaults); err != nil {
		problems = append(problems, fmt.Errorf("defaults (--default-…): %w", err))
	}
	return errors.Join(problems...)
}
