// Package webhook admits pods: it serves the handler, keeps its certificate, and
// knows the cluster's versions.
package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-logr/logr"
	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/minio-sidecar/minio-sidecar/webhook/certs"
)

// Run serves until ctx ends.
//
// There is no leader: all replicas admit pods, and the few writes (the Secret,
// the CA in the registration) are conditional on what was read, so that two
// replicas that both find them wanting end up with one result.
func Run(ctx context.Context, config *rest.Config, o Options, log logr.Logger) error {
	if err := o.Check(); err != nil {
		return err
	}
	numbers, err := NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	certificate := certs.NewSource(o.CertDir, numbers.certificateExpires, log.WithName("certificate"))
	mgr, err := newManager(config, o, certificate, log)
	if err != nil {
		return fmt.Errorf("set up the manager: %w", err)
	}
	versions, synced, err := watchVersions(ctx, mgr, config, log.WithName("versions"))
	if err != nil {
		return fmt.Errorf("watch the cluster's versions: %w", err)
	}
	checks := map[string]healthz.Checker{
		"certificate": certificate.Ready,
		"versions":    versions.Ready,
		"nodes":       check(synced, "the nodes have not been listed yet"),
		"server":      mgr.GetWebhookServer().StartedChecker(),
	}
	if o.CertSource == CertSelfSigned {
		injected, err := issue(mgr, o)
		if err != nil {
			return fmt.Errorf("set up certificates: %w", err)
		}
		checks["registration"] = check(injected, "the CA has not been written into the registration yet")
	}
	for name, checker := range checks {
		if err := mgr.AddReadyzCheck(name, checker); err != nil {
			return err
		}
	}
	if err := errors.Join(mgr.AddHealthzCheck("alive", healthz.Ping), mgr.Add(certificate)); err != nil {
		return err
	}
	mgr.GetWebhookServer().Register(Path, &admission.Webhook{Handler: &Handler{
		Defaults: o.Defaults, Versions: versions, Metrics: numbers, Version: o.Version,
	}})
	return mgr.Start(ctx)
}

func newManager(config *rest.Config, o Options, certificate *certs.Source, log logr.Logger) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return ctrl.NewManager(config, ctrl.Options{
		Scheme:                 scheme,
		Logger:                 log,
		Metrics:                metricsserver.Options{BindAddress: o.MetricsAddress},
		HealthProbeBindAddress: o.HealthAddress,
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&corev1.Node{}: {Transform: onlyVersions},
				&corev1.Secret{}: {Namespaces: map[string]cache.Config{
					o.Namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", o.CertSecret)},
				}},
			},
		},
		WebhookServer: webhook.NewServer(webhook.Options{
			Port: o.Port,
			TLSOpts: []func(*tls.Config){func(c *tls.Config) {
				c.MinVersion = tls.VersionTLS12
				// Serving starts before there is a certificate; readiness waits.
				c.GetCertificate = certificate.GetCertificate
			}},
		}),
	})
}

// watchVersions follows the API server and the nodes. What it returns as second
// says whether all nodes have been seen once.
func watchVersions(ctx context.Context, mgr ctrl.Manager, config *rest.Config, log logr.Logger) (*clusterVersions, func() bool, error) {
	server, err := discovery.NewDiscoveryClientForConfigAndClient(config, mgr.GetHTTPClient())
	if err != nil {
		return nil, nil, err
	}
	versions := newClusterVersions(server, log)
	nodes, err := mgr.GetCache().GetInformer(ctx, &corev1.Node{}, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, nil, err
	}
	var registration toolscache.ResourceEventHandlerRegistration
	if registration, err = nodes.AddEventHandler(versions); err != nil {
		return nil, nil, err
	}
	return versions, registration.HasSynced, mgr.Add(versions)
}

// issue lets the certificate library keep the Secret and the registration, and
// mirrors the Secret into files. What it returns says whether the CA has been
// written into the registration.
func issue(mgr ctrl.Manager, o Options) (func() bool, error) {
	name := o.Service + "." + o.Namespace + ".svc"
	secret := types.NamespacedName{Namespace: o.Namespace, Name: o.CertSecret}
	ready := make(chan struct{})
	err := rotator.AddRotator(mgr, &rotator.CertRotator{
		SecretKey:      secret,
		CertDir:        o.CertDir,
		CAName:         "minio-sidecar-ca",
		CAOrganization: "minio-sidecar",
		DNSName:        name,
		ExtraDNSNames:  append([]string{name + ".cluster.local"}, o.CertNames...),
		IsReady:        ready,
		FieldOwner:     "minio-sidecar-webhook",
		Webhooks:       []rotator.WebhookInfo{{Name: o.WebhookConfig, Type: rotator.Mutating}},
	})
	if err != nil {
		return nil, err
	}
	mirror := &certs.Mirror{Secret: secret, Dir: o.CertDir, Reader: mgr.GetClient()}
	if err := ctrl.NewControllerManagedBy(mgr).Named("certificate-files").For(&corev1.Secret{}).Complete(mirror); err != nil {
		return nil, err
	}
	return func() bool {
		select {
		case <-ready:
			return true
		default:
			return false
		}
	}, nil
}

// check turns a question into a readiness check.
func check(done func() bool, sentence string) healthz.Checker {
	return func(*http.Request) error {
		if done() {
			return nil
		}
		return errors.New(sentence)
	}
}
