package webhook_test

import (
	"strings"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/webhook"
)

func TestOptions(t *testing.T) {
	good := func() webhook.Options {
		return webhook.Options{
			Namespace: "n", Service: "s", CertSecret: "c", WebhookConfig: "w", CertSource: webhook.CertSelfSigned,
			CertDir: "/d", Port: 9443, Defaults: map[string]string{contract.Image: "syncer:1"},
		}
	}
	for name, c := range map[string]struct {
		change   func(*webhook.Options)
		sentence string
	}{
		"good": {func(*webhook.Options) {}, ""},
		"files need less": {func(o *webhook.Options) {
			*o = webhook.Options{CertSource: webhook.CertFiles, CertDir: "/d", Port: 1, Defaults: o.Defaults}
		}, ""},
		"no namespace":       {func(o *webhook.Options) { o.Namespace = "" }, "--namespace is required"},
		"no folder":          {func(o *webhook.Options) { o.CertDir = "" }, "--cert-dir is required"},
		"other source":       {func(o *webhook.Options) { o.CertSource = "vault" }, `--cert-source "vault" must be "self-signed" or "files"`},
		"no port":            {func(o *webhook.Options) { o.Port = 0 }, "--webhook-port 0 must be from 1 to 65535"},
		"bad default":        {func(o *webhook.Options) { o.Defaults[contract.Mode] = "x" }, `minio-sidecar/mode "x" must be`},
		"no image":           {func(o *webhook.Options) { o.Defaults = nil }, "minio-sidecar/image is required"},
		"bad default of url": {func(o *webhook.Options) { o.Defaults[contract.Endpoint] = "minio" }, `minio-sidecar/endpoint "minio" must be http`},
	} {
		o := good()
		c.change(&o)
		err := o.Check()
		if c.sentence == "" && err != nil || c.sentence != "" && (err == nil || !strings.Contains(err.Error(), c.sentence)) {
			t.Errorf("%s: error %v, want …%s…", name, err, c.sentence)
		}
	}
}
