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
//	--cert-names NAME,…           further DNS names of a self-signed certificate,
//	                              such as localhost outside a cluster
//	--webhook-port N              HTTPS, path /mutate-pods (9443)
//	--metrics-address ADDR        HTTP, /metrics; "0": none (:8080)
//	--health-address ADDR         HTTP, /healthz and /readyz (:8081)
//	--shutdown-delay DURATION     how long to go on serving after SIGTERM (5s)
//	--log-level LEVEL             of the webhook: debug, info, warn, error (info)
//
// Defaults for annotations that a pod does not set, checked like annotations:
// --default-KEY VALUE, for KEY in image (required), endpoint, region, secret,
// prefix, path, mode, delete, include, exclude, size-limit, medium,
// create-bucket, restore-timeout, flush-timeout, scan-interval, bandwidth-limit,
// cpu-request, cpu-limit, memory-request, memory-limit, native-sidecar, metrics-port,
// image-pull-policy, log-level.
//
// # What it needs in the cluster
//
// The rules in config/rbac, and for --cert-source=files only the one on nodes.
// No leader election: all replicas do the same, and writes are conditional on
// what was read.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/pkg/version"
	"github.com/minio-sidecar/minio-sidecar/webhook"
	"github.com/minio-sidecar/minio-sidecar/webhook/settings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o webhook.Options
	var level slog.Level
	var delay time.Duration
	defaults := map[string]*string{}

	c := &cobra.Command{
		Use:          "webhook",
		Short:        "Puts the sidecar into annotated pods",
		Args:         cobra.NoArgs,
		Version:      version.Get().Version,
		SilenceUsage: true,
		PreRunE:      func(c *cobra.Command, _ []string) error { return fromEnvironment(c.Flags()) },
		RunE: func(c *cobra.Command, _ []string) error {
			o.Version = version.Get().Version
			o.Defaults = map[string]string{}
			for key, value := range defaults {
				if *value != "" {
					o.Defaults[key] = *value
				}
			}
			log := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
			ctrl.SetLogger(log)
			klog.SetLogger(log)
			// Options first: a wrong flag should not be hidden by a missing cluster.
			if err := o.Check(); err != nil {
				return err
			}
			config, err := ctrl.GetConfig()
			if err != nil {
				return fmt.Errorf("find the cluster: %w", err)
			}
			return webhook.Run(linger(c.Context(), delay), config, o, log)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Namespace, "namespace", "", "own namespace")
	f.StringVar(&o.Service, "service", "minio-sidecar-webhook", "own Service, for which the certificate is made")
	f.StringVar(&o.WebhookConfig, "webhook-config", "minio-sidecar-webhook", "MutatingWebhookConfiguration whose caBundle is kept filled in")
	f.StringVar((*string)(&o.CertSource), "cert-source", string(webhook.CertSelfSigned), "where the certificate comes from: self-signed or files")
	f.StringVar(&o.CertSecret, "cert-secret", "minio-sidecar-webhook-cert", "Secret that keeps the self-signed certificate; must exist, may be empty")
	f.StringVar(&o.CertDir, "cert-dir", "/run/minio-sidecar/certificate", "folder of tls.crt and tls.key; must be writable for self-signed")
	f.StringSliceVar(&o.CertNames, "cert-names", nil, "further DNS names for the self-signed certificate, such as localhost")
	f.IntVar(&o.Port, "webhook-port", 9443, "HTTPS port")
	f.StringVar(&o.MetricsAddress, "metrics-address", ":8080", "address of /metrics; 0: none")
	f.StringVar(&o.HealthAddress, "health-address", ":8081", "address of /healthz and /readyz")
	f.DurationVar(&delay, "shutdown-delay", 5*time.Second, "how long to go on serving after SIGTERM")
	f.TextVar(&level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	for _, key := range settings.DefaultKeys() {
		defaults[key] = f.String("default-"+key, "", "for pods without the annotation "+contract.AnnotationPrefix+key)
	}
	f.AddGoFlag(flag.CommandLine.Lookup("kubeconfig"))
	return c
}

// linger returns a context that outlives ctx by delay. A pod is told to end while
// API servers still send to it: until all of them know, it has to answer, or a
// pod that asks for its files is refused during each rollout.
func linger(ctx context.Context, delay time.Duration) context.Context {
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(delay, end) })
	return lasting
}

// fromEnvironment fills in flags that were not given from the environment.
func fromEnvironment(flags *pflag.FlagSet) error {
	var problem error
	flags.VisitAll(func(f *pflag.Flag) {
		name := contract.EnvName(f.Name)
		value, found := os.LookupEnv(name)
		if f.Changed || !found || problem != nil || strings.TrimSpace(value) == "" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			problem = fmt.Errorf("environment variable %s: %w", name, err)
		}
	})
	return problem
}
