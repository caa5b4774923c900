package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// chooseUser makes the security context of both containers. They run as the
// app does, so that each can read what the other writes.
func (b *builder) chooseUser() (*corev1.SecurityContext, error) {
	podContext := b.pod.Spec.SecurityContext
	if podContext == nil {
		podContext = &corev1.PodSecurityContext{}
	}
	var users, groups owners
	// Whether root is ruled out is for the container to say that decides the user.
	nonRoot := podContext.RunAsNonRoot
	deciders := b.deciders()
	for i, c := range deciders {
		own := c.SecurityContext
		if own == nil {
			own = &corev1.SecurityContext{}
		}
		users.add(c.Name, first(own.RunAsUser, podContext.RunAsUser))
		groups.add(c.Name, first(own.RunAsGroup, podContext.RunAsGroup))
		if i == 0 {
			nonRoot = first(own.RunAsNonRoot, podContext.RunAsNonRoot)
		}
	}
	if len(deciders) == 0 {
		users.add("", podContext.RunAsUser)
		groups.add("", podContext.RunAsGroup)
	}
	user := b.decide(users, contract.RunAsUser, "user", b.Settings.RunAsUser)
	group := b.decide(groups, contract.RunAsGroup, "group", b.Settings.RunAsGroup)

	yes, no := true, false
	sc := &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		Privileged:               &no,
		ReadOnlyRootFilesystem:   &yes,
		RunAsGroup:               group,
		RunAsUser:                user,
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	key := contract.AnnotationPrefix + contract.RunAsUser
	switch {
	case user == nil && isTrue(nonRoot):
		return nil, refusal("the pod says runAsNonRoot without saying which user, and the sidecar must run as the app does: set %s to the number of the app's user, or runAsUser in the pod's securityContext", key)
	case user != nil && *user == 0 && isTrue(nonRoot):
		return nil, refusal("the sidecar would run as user 0, but the pod says runAsNonRoot: set %s to the number of the app's user", key)
	case user != nil && *user != 0:
		if group == nil && podContext.FSGroup == nil {
			b.warnOfUnknown(groups, "group", "the sidecar's is 0, and files of another group come back with that", contract.RunAsGroup)
		}
		sc.RunAsNonRoot = &yes
		return sc, nil
	case user == nil:
		b.warnOfUnknown(users, "user", "the sidecar is root, and files that other clients put into the bucket are root's, "+
			"which the app may not change", contract.RunAsUser)
	}
	// The image decides who the app is, and nobody here can know. Root without
	// these four cannot give files to their owners, nor read and replace what
	// others own, nor keep the setgid bit of what a foreign group owns; with them
	// Pod Security "baseline" still admits the pod.
	root := int64(0)
	sc.RunAsUser = &root
	sc.RunAsNonRoot = &no
	sc.Capabilities.Add = []corev1.Capability{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"}
	return sc, nil
}

// deciders are the containers whose user counts, the first one most: those that
// use the volume for as long as the pod lives. Init containers that end often
// run as somebody else for a moment (to change owners, or to set up a mesh), and
// only count if no other container has the volume. Whoever puts a container in
// front of the app's says which one is the app by kubectl's annotation.
func (b *builder) deciders() []*corev1.Container {
	var lasting, native []*corev1.Container
	for _, c := range b.mounted {
		switch {
		case !isInit(b.pod, c.Name):
			lasting = append(lasting, c)
		case isNative(c):
			native = append(native, c)
		}
	}
	lasting = append(lasting, native...)
	if len(lasting) == 0 {
		return b.mounted
	}
	app := b.pod.Annotations[contract.DefaultContainerAnnotation]
	if i := slices.IndexFunc(lasting, func(c *corev1.Container) bool { return c.Name == app }); i > 0 {
		lasting = slices.Insert(slices.Delete(slices.Clone(lasting), i, i+1), 0, lasting[i])
	}
	return lasting
}

// decide chooses among what the containers say; the annotation wins.
func (b *builder) decide(from owners, key, what string, annotated *int64) *int64 {
	if annotated != nil {
		return annotated
	}
	if from.differ != "" && !b.had {
		b.warn(fmt.Sprintf("containers %q and %q run as different %ss: the sidecar runs as %q does; %s%s decides otherwise",
			from.container, from.differ, what, from.container, contract.AnnotationPrefix, key))
	}
	return from.id
}

// warnOfUnknown says what follows where only the image knows who the app is.
func (b *builder) warnOfUnknown(from owners, what, follows, key string) {
	if from.container != "" && !b.had {
		b.warn(fmt.Sprintf("nobody says as which %s container %q runs: %s; %s%s decides otherwise",
			what, from.container, follows, contract.AnnotationPrefix, key))
	}
}

// owners collects the users (or groups) of containers.
type owners struct {
	id        *int64 // of the first container; nil: the image's
	container string // the first one
	differ    string // the first one that differs
	any       bool
}

func (o *owners) add(container string, id *int64) {
	switch {
	case !o.any:
		*o = owners{id: id, container: container, any: true}
	case o.differ == "" && !same(o.id, id):
		o.differ = container
	}
}

func same(a, b *int64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

func first[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

func isTrue(b *bool) bool { return b != nil && *b }
