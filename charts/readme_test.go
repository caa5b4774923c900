package charts

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

// The README's installation, typed as it stands there, asks for the images that
// it has pushed.
func TestReadmeInstallsWhatItPushes(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var commands string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(block[1], "helm install") {
			commands = block[1]
		}
	}
	path, err := exec.Command("../hack/tools/get", "helm").Output()
	if err != nil {
		t.Fatal(err)
	}
	// All digits, which YAML would make a number of.
	const tag = "1234567"
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", `
		git() { echo `+tag+`; }
		make() { [[ "$*" == "images push" ]] && pushed=$REGISTRY; }
		helm() { shift && "$HELM" template "$@"; }
		`+commands+`
		echo "# pushed to $pushed"`)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "HELM="+strings.TrimSpace(string(path)))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rendered, registry, _ := strings.Cut(string(out), "# pushed to ")
	registry = strings.TrimSpace(registry)
	webhook := find[*appsv1.Deployment](t, decode(t, rendered))[0].Spec.Template.Spec.Containers[0]
	if want := registry + "/webhook:" + tag; webhook.Image != want {
		t.Errorf("the webhook's image is %s, pushed was %s", webhook.Image, want)
	}
	if want := "--default-image=" + registry + "/syncer:" + tag; !slices.Contains(webhook.Args, want) {
		t.Errorf("the webhook's arguments are %q, without %s", webhook.Args, want)
	}
}
