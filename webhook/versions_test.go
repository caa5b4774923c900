package webhook

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/minio-sidecar/minio-sidecar/webhook/inject"
)

// answers is an API server that gives these versions, one a question, the last
// one for ever; an empty one is a failure.
type answers []string

func (a *answers) ServerVersion() (*version.Info, error) {
	next := (*a)[0]
	if len(*a) > 1 {
		*a = (*a)[1:]
	}
	if next == "" {
		return nil, errors.New("connection refused")
	}
	return &version.Info{GitVersion: next}, nil
}

func node(name, kubelet string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "7", Labels: map[string]string{"much": "more"}},
		Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: kubelet}},
	}
}

func TestServerVersionIsAskedUntilKnownAndThenKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newClusterVersions(&answers{"", "v1.28.9", "", "v1.35.4+k3s1"}, logr.Discard())
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- v.Start(ctx) }()

		synctest.Wait()
		if err := v.Ready(nil); err == nil {
			t.Error("ready without knowing the version")
		}
		if got := v.Cluster(); got.NativeSidecars {
			t.Error("native without knowing the version")
		}
		for _, step := range []struct {
			after time.Duration
			want  inject.Cluster
		}{
			{time.Second, inject.Cluster{Reason: "the API server is v1.28.9"}},
			{time.Minute, inject.Cluster{Reason: "the API server is v1.28.9"}}, // a failure changes nothing
			{time.Minute, inject.Cluster{NativeSidecars: true}},
		} {
			time.Sleep(step.after)
			synctest.Wait()
			if got := v.Cluster(); got != step.want {
				t.Errorf("got %+v, want %+v", got, step.want)
			}
			if err := v.Ready(nil); err != nil {
				t.Error(err)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestNodes(t *testing.T) {
	v := newClusterVersions(nil, logr.Discard())
	v.serverText = "v1.35.4"
	want := func(what, reason string) {
		t.Helper()
		if got := v.Cluster(); got.Reason != reason || got.NativeSidecars != (reason == "") {
			t.Errorf("%s: %+v, want reason %q", what, got, reason)
		}
	}
	want("no nodes yet", "")
	v.OnAdd(node("a", "v1.29.0-gke.1"), true)
	v.OnAdd(node("new", ""), false)
	want("all new enough", "")
	v.OnAdd(node("c", "v1.28.15"), false)
	v.OnAdd(node("b", "edge"), false)
	want("two that are not", `node "b" runs edge`)
	v.OnUpdate(node("b", "edge"), node("b", "v1.31.2"))
	want("one upgraded", `node "c" runs v1.28.15`)
	v.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "c", Obj: node("c", "v1.28.15")})
	want("the other gone while nobody looked", "")
	v.OnUpdate(node("a", "v1.29.0"), node("a", "v1.27.1"))
	want("a downgrade", `node "a" runs v1.27.1`)
	v.OnDelete(node("a", "v1.27.1"))
	want("gone", "")
	v.OnAdd(&corev1.Pod{}, false) // nothing of ours
	v.OnDelete(&corev1.Pod{})
	want("something else", "")
}

func TestOnlyVersionsAreKept(t *testing.T) {
	kept, err := onlyVersions(node("a", "v1.30.1"))
	if err != nil {
		t.Fatal(err)
	}
	got := kept.(*corev1.Node)
	if got.Name != "a" || got.ResourceVersion != "7" || got.Status.NodeInfo.KubeletVersion != "v1.30.1" || got.Labels != nil {
		t.Errorf("%+v", got)
	}
	if other, err := onlyVersions("x"); err != nil || other != "x" {
		t.Errorf("%v, %v", other, err)
	}
}
