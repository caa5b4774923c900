package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// tools are the clients of others. Both call the store "store".
type tools struct {
	mc, rclone string
	env        []string
}

func newTools(t *testing.T, server *testenv.Server) tools {
	t.Helper()
	home := t.TempDir()
	u, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	// Whether names are escaped in listings. versitygw is asked to, and does not.
	escapes := fmt.Sprint(server.Name != "versitygw")
	u.User = url.UserPassword(server.AccessKey, server.SecretKey)
	return tools{mc: testenv.Tool(t, "mc"), rclone: testenv.Tool(t, "rclone"), env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir(),
		"MC_CONFIG_DIR=" + home + "/mc", "MC_HOST_store=" + u.String(), "MC_DISABLE_PAGER=1",
		"RCLONE_CONFIG=" + home + "/rclone.conf",
		"RCLONE_CONFIG_STORE_TYPE=s3", "RCLONE_CONFIG_STORE_PROVIDER=Minio", "RCLONE_CONFIG_STORE_ENDPOINT=" + server.Endpoint,
		"RCLONE_CONFIG_STORE_LIST_URL_ENCODE=" + escapes,
		"RCLONE_CONFIG_STORE_ACCESS_KEY_ID=" + server.AccessKey, "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY=" + server.SecretKey,
	}}
}

// tool runs one of the tools and returns what it says, and its complaints where
// it fails.
func (l *lab) tool(program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = l.tools.env
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out.Bytes(), complaint.Bytes())
	}
	return out.String(), err
}

func (l *lab) rclone(args ...string) string {
	l.t.Helper()
	out, err := l.tool(l.tools.rclone, args...)
	l.check(err)
	return out
}

func (l *lab) mc(args ...string) string {
	l.t.Helper()
	out, err := l.tool(l.tools.mc, args...)
	l.check(err)
	return out
}

// The bucket's side, as each of them calls it.
func (l *lab) remote() string   { return "store:" + l.bucket + "/" + prefix }
func (l *lab) mcRemote() string { return "store/" + l.bucket + "/" + prefix }

// ours is what the syncer keeps for itself, on both sides. It is the one thing
// that differs.
const ours = "/.minio-sidecar/**"

func isOurs(path string) bool { return strings.HasPrefix(path, ".minio-sidecar/") }

// rcloneCheck has rclone read both sides, and compare. It does not know our
// symbolic links: it passes over those of the volume, and takes ours in the
// bucket for files that the volume lacks. They are left out by name.
func (n *node) rcloneCheck() error {
	args := []string{"check", "--download", n.volume, n.remote(), "--exclude", ours}
	for name := range n.links() {
		args = append(args, "--exclude", "/"+escapeGlob(name))
	}
	_, err := n.tool(n.tools.rclone, args...)
	return err
}

// escapeGlob makes a rclone pattern of a name.
func escapeGlob(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if strings.IndexByte(`\*?[]{},`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// mcDiff has mc compare the two sides, and returns what differs: path → how.
func (n *node) mcDiff() map[string]string {
	n.t.Helper()
	out := n.mc("diff", "--json", n.volume, n.mcRemote())
	differs := map[string]string{}
	for line := range strings.Lines(out) {
		var d struct {
			First, Second string
			Diff          int
		}
		n.check(json.Unmarshal([]byte(line), &d))
		path := strings.TrimPrefix(d.First, n.volume+"/")
		if d.First == "" {
			_, path, _ = strings.Cut(d.Second, n.bucket+"/"+prefix)
		}
		if isOurs(path) {
			continue // it differs, and mc diff cannot be told to leave it out
		}
		// The numbers are those of differType in mc's cmd/difference.go.
		how, ok := map[int]string{2: "size", 4: "type", 5: "only in the volume", 6: "only in ours", 7: "time"}[d.Diff]
		if !ok {
			n.t.Errorf("mc diff says %s", line)
		}
		differs[path] = how
	}
	return differs
}
