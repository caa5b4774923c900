//go:build e2e

package e2e

import "testing"

// The order matters from one group to the next: what comes later takes something
// away that the groups before it need.
func TestEndToEnd(t *testing.T) {
	c := connect(t)
	nodes := c.workers(t)
	s := startStore(t, c, nodes[0])
	untouched := c.plainPod(t) // before anything of ours is there
	r := install(t, c, s)

	t.Run("the replicas are on two nodes", func(t *testing.T) { testSpread(t, r) })
	t.Run("installed", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"files follow the pod":         func(t *testing.T) { testFilesFollow(t, c, s) },
			"owners follow, too":           func(t *testing.T) { testOwnersFollow(t, c, s, nodes) },
			"last words, native sidecar":   func(t *testing.T) { testLastWords(t, c, s, nodes, "true") },
			"last words, ordinary sidecar": func(t *testing.T) { testLastWords(t, c, s, nodes, "false") },
			"a job completes":              func(t *testing.T) { testJob(t, c, s) },
			"a restricted namespace":       func(t *testing.T) { testRestricted(t, c, s) },
			"a pod that does not ask":      func(t *testing.T) { mustEqualPlainPod(t, c, untouched) },
			"a misspelt annotation":        func(t *testing.T) { testMisspelt(t, c) },
			"an impossible value":          func(t *testing.T) { testImpossible(t, c) },
			"a pod of a deployment":        func(t *testing.T) { testRefusedDeployment(t, c) },
			"no secret":                    func(t *testing.T) { testNoSecret(t, c) },
			"a wrong key":                  func(t *testing.T) { testWrongKey(t, c, s) },
			"no such bucket":               func(t *testing.T) { testNoBucket(t, c) },
			"the chart's own test":         func(t *testing.T) { r.helm(t, "test", r.name, "--timeout=2m") },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
	t.Run("upgraded", func(t *testing.T) { testUpgrade(t, c, s, r) })
	t.Run("the store is down when the pod starts", func(t *testing.T) { testStoreDown(t, c, s) })
	t.Run("the store is down when the pod ends", func(t *testing.T) { testStoreDownAtEnd(t, c, s) })
	t.Run("the webhook is down", func(t *testing.T) { testWebhookDown(t, c, s, r, untouched) })
	t.Run("uninstalled", func(t *testing.T) { testUninstall(t, c, s, r, untouched) })
}
