package webhook

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/version"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/webhook/inject"
)

// serverVersionEvery is how often the API server is asked for its version: an
// upgrade is noticed within that time.
const serverVersionEvery = time.Minute

// serverVersioner is the part of a discovery client that is needed.
type serverVersioner interface {
	ServerVersion() (*version.Info, error)
}

// clusterVersions keeps an eye on the versions of the API server and of every
// kubelet. Admission reads the result; it never waits for it.
type clusterVersions struct {
	server serverVersioner
	log    logr.Logger

	mu         sync.RWMutex
	serverText string            // empty: not known yet
	old        map[string]string // kubelet versions that lack native sidecars, by node
}

func newClusterVersions(server serverVersioner, log logr.Logger) *clusterVersions {
	return &clusterVersions{server: server, log: log, old: map[string]string{}}
}

// Cluster implements [Versions].
func (v *clusterVersions) Cluster() inject.Cluster {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.serverText == "" {
		return inject.Cluster{Reason: "the API server's version is not known yet"}
	}
	if !native(v.serverText) {
		return inject.Cluster{Reason: "the API server is " + v.serverText}
	}
	if len(v.old) > 0 {
		node := slices.Min(slices.Collect(maps.Keys(v.old)))
		return inject.Cluster{Reason: fmt.Sprintf("node %q runs %s", node, v.old[node])}
	}
	return inject.Cluster{NativeSidecars: true}
}

// native reports whether a version has native sidecars. One that cannot be read
// (virtual kubelets report what they like) counts as old: an ordinary container
// works everywhere.
func native(text string) bool {
	v, err := apiversion.ParseGeneric(text)
	return err == nil && v.AtLeast(apiversion.MajorMinor(contract.NativeSidecarMinimumMajor, contract.NativeSidecarMinimumMinor))
}

// Start asks for the server's version until ctx ends. It implements the
// manager's Runnable.
func (v *clusterVersions) Start(ctx context.Context) error {
	wait := time.Second // until it is known
	for {
		info, err := v.server.ServerVersion()
		if err != nil {
			v.log.Error(err, "asking the API server for its version")
		} else {
			wait = serverVersionEvery
			v.mu.Lock()
			v.serverText = info.GitVersion
			v.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// NeedLeaderElection implements the manager's LeaderElectionRunnable: every
// replica admits pods, so every replica needs to know.
func (v *clusterVersions) NeedLeaderElection() bool { return false }

// Ready is a readiness check.
func (v *clusterVersions) Ready(*http.Request) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.serverText == "" {
		return fmt.Errorf("the API server's version is not known yet")
	}
	return nil
}

// OnAdd implements [toolscache.ResourceEventHandler], as do the next two.
func (v *clusterVersions) OnAdd(obj any, _ bool) { v.set(obj) }

// OnUpdate implements [toolscache.ResourceEventHandler].
func (v *clusterVersions) OnUpdate(_, obj any) { v.set(obj) }

// OnDelete implements [toolscache.ResourceEventHandler].
func (v *clusterVersions) OnDelete(obj any) {
	if unknown, missed := obj.(toolscache.DeletedFinalStateUnknown); missed {
		obj = unknown.Obj
	}
	if node, is := obj.(*corev1.Node); is {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.old, node.Name)
	}
}

func (v *clusterVersions) set(obj any) {
	node, is := obj.(*corev1.Node)
	if !is {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	// A node has no version until its kubelet has reported for the first time.
	if text := node.Status.NodeInfo.KubeletVersion; text == "" || native(text) {
		delete(v.old, node.Name)
	} else {
		v.old[node.Name] = text
	}
}

// onlyVersions is an informer's transform that keeps of a node what is used
// here. Large clusters have thousands, and a node's images alone take kilobytes.
func onlyVersions(obj any) (any, error) {
	node, is := obj.(*corev1.Node)
	if !is {
		return obj, nil
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, ResourceVersion: node.ResourceVersion},
		Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: node.Status.NodeInfo.KubeletVersion}},
	}, nil
}
