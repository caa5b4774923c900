package syncer

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// fault is what happens to a store under a sync.
type fault struct {
	strike func(*afflicted) (cure func())
	want   status.Condition
	says   string // in the status's message
	// stall is the patience with connections that stand still, where the usual
	// one would take too long. On a busy machine a good one may seem to.
	stall time.Duration
}

// afflicted is what a fault happens to.
type afflicted struct {
	*testing.T
	*rig
	node  *node
	proxy *between
	path  *testenv.FaultyPath
	user  string // whose credentials the node has
}

// TestStoreFaults: whatever is wrong with the store, there is one state and a
// sentence while it lasts, what is not in the bucket is counted, nobody is
// stormed with questions, and when it is over all goes on by itself.
func TestStoreFaults(t *testing.T) {
	t.Parallel() // it waits for most of the time
	server := testenv.MinIO(t)
	for name, f := range map[string]fault{
		"nothing but 503": {strike: nothingBut503, want: status.Unreachable, says: "store unreachable"},
		"black hole, the way there": {strike: func(a *afflicted) func() { return blackHole(a, "upstream") },
			want: status.Unreachable, stall: time.Second},
		"black hole, the way back": {strike: func(a *afflicted) func() { return blackHole(a, "downstream") },
			want: status.Unreachable, stall: time.Second},
		"user disabled":     {strike: userDisabled, want: status.AccessDenied, says: "access denied"},
		"policy taken away": {strike: policyTaken, want: status.AccessDenied, says: "access denied"},
		"user replaced, then the Secret": {strike: credentialsRotated, want: status.AccessDenied,
			says: "access denied"},
		"user replaced, then one file after the other": {strike: credentialsOverwritten, want: status.AccessDenied,
			says: "access denied"},
		"quota": {strike: quotaReached, want: status.StoreFull, says: "full or quota"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, server)
			a := &afflicted{T: t, rig: r, proxy: r.between(t), user: "u-" + r.bucket}
			a.path = (&testenv.Server{Name: server.Name, Endpoint: r.endpoint}).Faulty(t)
			r.endpoint = a.path.Endpoint
			a.addUser(a.user)
			a.node = r.node(t)
			a.node.stall = f.stall
			a.node.attendEvery = 200 * time.Millisecond
			a.node.credentials = t.TempDir()
			secretVolume(t, a.node.credentials, a.user)
			a.survives(f)
		})
	}
}

func (a *afflicted) survives(f fault) {
	t, n := a.T, a.node
	n.start()
	n.fill(30)
	cure := f.strike(a)
	const burst = 150
	puts := a.proxy.puts.Load()
	waits := func() int64 { return int64(n.logged.count("does not take part")) }
	before := waits()
	warned := n.logged.count("level=WARN")
	for i := range burst {
		n.write(fmt.Sprintf("burst-%d", i), strings.Repeat("during ", 1<<10))
	}
	n.write("d0/0", "changed")
	n.remove("d1/1")
	n.write("large", strings.Repeat("in parts", 3<<20))
	n.await(string(f.want), func() bool { return n.tells(f.want) })
	s := n.engine.Status()
	if s.Pending == 0 || s.OldestPendingSeconds == 0 || len(s.PendingPaths) == 0 || !strings.Contains(s.Message, f.says) {
		t.Errorf("status: %+v", s)
	}
	// What somebody does meanwhile that needs no store says nothing about it.
	for i := range 30 {
		n.write("temporary", "x")
		n.remove("temporary")
		time.Sleep(25 * time.Millisecond)
		if f.want != status.StoreFull && !n.tells(f.want) {
			t.Fatalf("look %d: not %s as long as it lasts: %s", i, f.want, n.told())
		}
	}
	s = n.engine.Status()
	if f.want != status.StoreFull && s.Pending < burst { // small files may fit into what is left
		t.Errorf("%d paths are pending, want all of %d", s.Pending, burst+2)
	}
	if got := n.metric(t, "minio_sidecar_pending_paths"); got == 0 || got > burst+10 {
		t.Errorf("metric: %v paths are pending", got)
	}
	if f.want == status.StoreFull { // what fits goes in, and the rest is named
		n.await("left with what is too large", func() bool {
			s := n.engine.Status()
			named := false
			for _, p := range s.PendingPaths {
				named = named || p.Path == "large" && strings.Contains(p.Reason, f.says)
			}
			return named && n.tells(f.want) && s.Pending <= 2 // the deletion may wait for it
		})
	}
	if n.metric(t, "minio_sidecar_oldest_pending_seconds") == 0 {
		t.Error("metric: nothing is pending for any time")
	}
	// After each wait comes at most one try by each worker.
	n.await("waiting again", func() bool { return waits() >= before+2 })
	puts = a.proxy.puts.Load() - puts
	if most := (waits() - before + 1) * int64(n.config.Concurrency); puts > most && f.want != status.StoreFull {
		t.Errorf("%d uploads were tried of a store that does not take part, want at most %d", puts, most)
	}
	if got := n.logged.count("level=WARN") - warned; got == 0 || got > 20 {
		t.Errorf("%d warnings, want a few", got)
	}

	cure()
	n.flush()
	n.await("well again", func() bool { return n.tells(status.OK) })
	n.hasKeys(30 - 1 + burst + 1)
	n.mustStop()
	n.verify()
	b := a.rig.node(t)
	b.restore()
	b.equals(n)
}

// tells reports whether status, metrics and log tell of the same condition, c, and
// of no other.
func (n *node) tells(c status.Condition) bool {
	return n.told() == fmt.Sprintf("status %s, metrics [%s], log %s", c, c, c)
}

// told is what they tell. Of the log it is the last word.
func (n *node) told() string {
	var inMetrics []status.Condition
	for _, c := range status.Conditions() {
		if n.metric(n.t, fmt.Sprintf("minio_sidecar_condition{condition=%q}", c)) != 0 {
			inMetrics = append(inMetrics, c)
		}
	}
	inLog := string(status.OK) // as long as it says nothing
	if _, after, ok := strings.Cut(n.logged.lastSince(n.opened, conditionChanged), " condition="); ok {
		inLog = strings.Fields(after)[0]
	}
	return fmt.Sprintf("status %s, metrics %v, log %s", condition(n), inMetrics, inLog)
}

// metric is the sum of a metric's values, as a scraper sees them.
func (n *node) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	answer := httptest.NewRecorder()
	n.metrics.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	found := false
	for line := range strings.Lines(answer.Body.String()) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok && rest != "" && (rest[0] == ' ' || rest[0] == '{') {
			v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			if err != nil {
				t.Fatal(err)
			}
			sum, found = sum+v, true
		}
	}
	if !found {
		t.Errorf("there is no metric %s", name)
	}
	return sum
}

// mc runs MinIO's own client, to do what its administrator does.
func (a *afflicted) mc(args ...string) {
	a.Helper()
	u, err := url.Parse(a.server.Endpoint)
	if err != nil {
		a.Fatal(err)
	}
	u.User = url.UserPassword(a.server.AccessKey, a.server.SecretKey)
	cmd := exec.Command(testenv.Tool(a, "mc"), args...)
	cmd.Env = []string{"HOME=" + a.TempDir(), "MC_HOST_store=" + u.String(), "MC_DISABLE_PAGER=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		a.Fatalf("mc %q: %v\n%s", args, err, out)
	}
}

func nothingBut503(a *afflicted) func() {
	a.proxy.answers(slowDown(func(*http.Request) bool { return true }))
	return a.proxy.honest
}

// slowDown answers as an overloaded store does, where it is to.
func slowDown(when func(*http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !when(r) {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>`+
			`<Message>Please reduce your request rate</Message></Error>`)
		return true
	}
}

// blackHole swallows what is sent in one direction; no connection is closed.
func blackHole(a *afflicted, stream string) func() {
	return a.path.Poison(a.T, "timeout", stream, map[string]any{"timeout": 0})
}

func userDisabled(a *afflicted) func() {
	a.mc("admin", "user", "disable", "store", a.user)
	return func() { a.mc("admin", "user", "enable", "store", a.user) }
}

func policyTaken(a *afflicted) func() {
	a.mc("admin", "policy", "detach", "store", "readwrite", "--user", a.user)
	return func() { a.mc("admin", "policy", "attach", "store", "readwrite", "--user", a.user) }
}

// credentialsRotated: the old user goes before the new one's keys have come, as
// careless administrators do it.
func credentialsRotated(a *afflicted) func() {
	a.mc("admin", "user", "remove", "store", a.user)
	return func() {
		fresh := "fresh-" + a.user
		a.addUser(fresh)
		secretVolume(a.T, a.node.credentials, fresh)
	}
}

// credentialsOverwritten: as credentialsRotated, but the files are ordinary ones
// that somebody writes one after the other, and what is read in between is of
// two users, or of none.
func credentialsOverwritten(a *afflicted) func() {
	a.mc("admin", "user", "remove", "store", a.user)
	return func() {
		fresh := "fresh-" + a.user
		a.addUser(fresh)
		for _, f := range []struct{ name, content string }{
			{contract.AccessKeyFile, fresh}, {contract.SecretKeyFile, ""}, {contract.SecretKeyFile, secretOf(fresh)},
		} {
			tries := a.node.logged.count("does not take part")
			path := filepath.Join(a.node.credentials, f.name)
			if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSymlink {
				a.node.do(os.Remove(path))
			}
			a.node.do(os.WriteFile(path, []byte(f.content), 0o600))
			if f.content != secretOf(fresh) {
				a.node.await("refused with what is there now", func() bool {
					return a.node.logged.count("does not take part") > tries
				})
			}
		}
	}
}

// quotaReached: what is larger than all that is left does not go in. MinIO
// counts what is in a bucket only now and then; all but the large file have
// room either way.
func quotaReached(a *afflicted) func() {
	a.mc("quota", "set", "store/"+a.bucket, "--size", "8MiB")
	return func() { a.mc("quota", "clear", "store/"+a.bucket) }
}

func (a *afflicted) addUser(name string) {
	a.Helper()
	a.mc("admin", "user", "add", "store", name, secretOf(name))
	a.mc("admin", "policy", "attach", "store", "readwrite", "--user", name)
}

func secretOf(user string) string { return "secret-" + user }

// secretVolume lays credentials out as the kubelet does, which replaces all
// files at once by a link to another folder: access-key → ..data/access-key,
// and ..data → ..2026_11_23_…
func secretVolume(t *testing.T, dir, user string) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	data, err := os.MkdirTemp(dir, "..2026_")
	must(err)
	for name, content := range map[string]string{
		contract.AccessKeyFile: user, contract.SecretKeyFile: secretOf(user),
	} {
		must(os.WriteFile(filepath.Join(data, name), []byte(content), 0o600))
		if err := os.Symlink("..data/"+name, filepath.Join(dir, name)); !errors.Is(err, os.ErrExist) {
			must(err)
		}
	}
	must(os.Symlink(filepath.Base(data), filepath.Join(dir, "..data_tmp")))
	old, _ := os.Readlink(filepath.Join(dir, "..data")) // none the first time
	must(os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	if old != "" {
		must(os.RemoveAll(filepath.Join(dir, old)))
	}
}

// TestStormOf503: a store that answers most requests with 503 gets everything
// in the end, while it lasts, and so does a restore from it. The choice of the
// requests is made from a seed.
func TestStormOf503(t *testing.T) {
	server := testenv.MinIO(t)
	const seed = 20261123
	r := newRig(t, server)
	proxy := r.between(t)
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 0))
	var refused atomic.Int64
	proxy.answers(slowDown(func(*http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if dice.IntN(10) < 7 {
			return false
		}
		refused.Add(1)
		return true
	}))
	a := r.node(t)
	a.start()
	a.fill(100)
	a.remove("d1/1")
	a.write("large", strings.Repeat("in parts", 3<<20))
	a.flush()
	a.hasKeys(100)
	b := r.node(t)
	b.restore()
	b.equals(a)
	if refused.Load() < 50 {
		t.Errorf("%d requests were refused of %d: that was no storm", refused.Load(), proxy.requests.Load())
	}
	a.mustStop()
}

// TestRecoveryIdle: what found the store away has nothing to do any more. The
// status does not go on saying it for ever.
func TestRecoveryIdle(t *testing.T) {
	t.Parallel()
	r := newRig(t, testenv.MinIO(t))
	proxy := r.between(t)
	a := r.node(t)
	a.attendEvery = 50 * time.Millisecond
	a.start()
	a.write("stays", "1")
	a.flush()
	proxy.answers(slowDown(func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/short-lived")
	}))
	a.write("short-lived", "2")
	a.await("unreachable", func() bool { return condition(a) == status.Unreachable })
	a.remove("short-lived")
	a.await("well again", func() bool { return condition(a) == status.OK })
	a.mustStop()
}

// TestRecoveryUnasked: nothing is pending when the store goes and when it comes
// back; the status says both.
func TestRecoveryUnasked(t *testing.T) {
	t.Parallel() // it waits for most of the time
	r := newRig(t, testenv.MinIO(t))
	proxy := r.between(t)
	a := r.node(t)
	a.attendEvery = 50 * time.Millisecond
	a.start()
	a.write("f", "1")
	a.flush()
	proxy.answers(slowDown(func(*http.Request) bool { return true }))
	a.await("unreachable", func() bool { return condition(a) == status.Unreachable })
	// A scan needs no store, and so knows nothing of it.
	a.do(a.engine.scanNow(t.Context()))
	a.do(a.engine.scanNow(t.Context())) // the first has ended altogether
	if c := condition(a); c != status.Unreachable {
		t.Errorf("condition %s after a scan, while the store is away", c)
	}
	proxy.honest()
	a.await("well again", func() bool { return condition(a) == status.OK })
	a.mustStop()
}

// TestStoreDiskFull: a store without room is a state of its own, and what fits
// after somebody made room comes by itself.
func TestStoreDiskFull(t *testing.T) {
	r := newRig(t, testenv.MinIO(t, testenv.WithDisk("128m")))
	client := r.server.Client(t)
	ballast := strings.Repeat("b", 8<<20)
	full := func() bool {
		_, err := client.Client.PutObject(t.Context(), r.bucket, fmt.Sprint("ballast/", time.Now().UnixNano()),
			strings.NewReader(ballast), int64(len(ballast)), putOptions())
		return err != nil
	}
	a := r.node(t)
	a.start()
	a.fill(20)
	a.await("full", full)
	for i := range 12 {
		a.write(fmt.Sprint("large/", i), ballast[:4<<20])
	}
	a.await("full", func() bool { return condition(a) == status.StoreFull })
	if s := a.engine.Status(); s.Pending == 0 || !strings.Contains(s.Message, "full or quota") {
		t.Errorf("status: %+v", s)
	}
	for obj := range client.Client.ListObjectsIter(t.Context(), r.bucket, listAll()) {
		if strings.HasPrefix(obj.Key, "ballast/") {
			r.server.MakeRoom(t, r.bucket, obj.Key)
		}
	}
	a.flush()
	a.await("well again", func() bool { return condition(a) == status.OK })
	a.hasKeys(32)
	a.mustStop()
	a.verify()
}
