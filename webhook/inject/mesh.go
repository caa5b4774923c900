package inject

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// mesh is how a service mesh looks in a pod. Its proxy takes all connections of
// the pod: before it runs, and after it has ended, there are none.
type mesh struct {
	proxy  string   // its container
	others []string // its init containers, which end
	ports  string   // annotation: ports whose connections pass it by
	// Annotations that let connections pass by address. Whoever sets them has
	// thought of it, and which address the store has is not to be known here.
	addresses []string
}

func meshes() []mesh {
	const istio, linkerd = "traffic.sidecar.istio.io/", "config.linkerd.io/"
	return []mesh{{
		proxy:     "istio-proxy",
		others:    []string{"istio-init", "istio-validation"},
		ports:     istio + "excludeOutboundPorts",
		addresses: []string{istio + "excludeOutboundIPRanges", istio + "includeOutboundIPRanges"},
	}, {
		proxy:     "linkerd-proxy",
		others:    []string{"linkerd-init", "linkerd-network-validator"},
		ports:     linkerd + "skip-outbound-ports",
		addresses: []string{linkerd + "skip-subnets"},
	}}
}

// isMesh: the container is a mesh's. It is nobody's app, needs no files, and its
// user says nothing about theirs.
func isMesh(container string) bool {
	return slices.ContainsFunc(meshes(), func(m mesh) bool {
		return m.proxy == container || slices.Contains(m.others, container)
	})
}

// placeOfRestore is where restore goes among the init containers: first, or right
// behind a mesh's native proxy, which runs by then. The kubelet stops native
// sidecars in the reverse order, so that the last flush has the proxy too. But
// nothing that uses the volume comes before its restore.
func (b *builder) placeOfRestore() int {
	place := 0
	for i := range b.pod.Spec.InitContainers {
		c := &b.pod.Spec.InitContainers[i]
		switch {
		case mountsVolume(c, b.dataVolume()):
			return place
		case isNative(c) && slices.ContainsFunc(meshes(), func(m mesh) bool { return m.proxy == c.Name }):
			place = i + 1
		}
	}
	return place
}

// warnAboutMesh names a proxy that ends before the last flush does.
func (b *builder) warnAboutMesh() {
	for _, m := range meshes() {
		proxy := find(b.pod, m.proxy)
		if proxy == nil || b.outlives(proxy) || b.passesBy(m) {
			continue
		}
		b.warn(fmt.Sprintf("%s stops before the last flush has ended, and may not run during the restore: "+
			"let the store's port pass it by, with %s: %q", m.proxy, m.ports, storePort(b.Settings.Endpoint)))
	}
}

// outlives reports whether the proxy starts before our containers and stops
// after them.
func (b *builder) outlives(proxy *corev1.Container) bool {
	place := func(name string) int {
		return slices.IndexFunc(b.pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name })
	}
	return isNative(proxy) && place(proxy.Name) >= 0 && place(proxy.Name) < place(contract.RestoreContainer)
}

// passesBy reports whether connections to the store are none of the mesh's.
func (b *builder) passesBy(m mesh) bool {
	for _, key := range m.addresses {
		if b.pod.Annotations[key] != "" {
			return true
		}
	}
	port, _ := strconv.Atoi(storePort(b.Settings.Endpoint))
	for _, ports := range contract.SplitList(b.pod.Annotations[m.ports]) {
		from, to, isRange := strings.Cut(ports, "-") // as Linkerd writes them
		if !isRange {
			to = from
		}
		first, err := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if ports == "*" || err == nil && err2 == nil && first <= port && port <= last {
			return true
		}
	}
	return false
}

// storePort is the port of a checked endpoint.
func storePort(endpoint string) string {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return ""
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
