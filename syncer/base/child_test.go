package base

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/entry"
)

const (
	roleEnv  = "BASE_TEST_ROLE" // what the test binary is to do instead of testing
	dirEnv   = "BASE_TEST_DIR"
	startEnv = "BASE_TEST_START"
)

// play is the life of a child process.
func play(role string) int {
	d, err := Open(os.Getenv(dirEnv))
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	start, _ := strconv.Atoi(os.Getenv(startEnv))
	switch role {
	case "write":
		writeEndlessly(d, start)
	case "hold":
		fmt.Println("holding")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is done with us
	}
	if err := d.Close(); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

// Change n concerns one of few keys, and is now and then a deletion, all known
// from n alone.
const fewKeys = 300

func keyOfChange(n int) string { return fmt.Sprintf("k/%03d", n%fewKeys) }
func deletes(n int) bool       { return n/fewKeys%5 == 4 }

// writeEndlessly prints the number of each change once it was acknowledged.
func writeEndlessly(d *DB, start int) {
	out := bufio.NewWriter(os.Stdout)
	var mu sync.Mutex
	slots := make(chan struct{}, 100)
	for n := start; n < start+1_000_000; n++ {
		slots <- struct{}{}
		done := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				fmt.Fprintln(out, "error:", err)
			} else {
				fmt.Fprintln(out, n)
			}
			out.Flush()
			<-slots
		}
		if deletes(n) {
			d.Delete(keyOfChange(n), done)
		} else {
			d.Put(some(keyOfChange(n), n), done)
		}
	}
}

func child(t *testing.T, role, dir string, start int) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, dirEnv+"="+dir, startEnv+"="+strconv.Itoa(start))
	cmd.Stderr = os.Stderr
	return cmd
}

// A process that writes as fast as it can is killed again and again. Each time
// the base opens, and has every change that was acknowledged.
func TestKill(t *testing.T) {
	const kills = 40
	const seed = 20261123
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked := map[string]int{} // the last acknowledged change of a key
	start, total := 0, 0
	for kill := range kills {
		cmd := child(t, "write", dir, start)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		// From its first acknowledgement on, at any moment.
		var timer *time.Timer
		for lines.Scan() {
			if timer == nil {
				timer = time.AfterFunc(time.Duration(random.IntN(40_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatalf("kill %d: the child said %q", kill, lines.Text())
			}
			acked[keyOfChange(n)] = n
			total++
		}
		_ = cmd.Wait()
		// Not acknowledged, but possibly written: 100 slots beyond what was.
		end := start
		for _, n := range acked {
			end = max(end, n+101)
		}
		checkAcknowledged(t, kill, dir, acked, end)
		start = (end/fewKeys + 1) * fewKeys
	}
	t.Logf("%d kills, %d changes acknowledged", kills, total)
}

// checkAcknowledged wants every key to be as its last acknowledged change left
// it, or a later one that was under way.
func checkAcknowledged(t *testing.T, kill int, dir string, acked map[string]int, end int) {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatalf("kill %d: %v", kill, err)
	}
	defer d.Close()
	if d.PutAside != "" {
		t.Fatalf("kill %d: the base was damaged", kill)
	}
	for key, last := range acked {
		e, err := d.Get(key)
		if err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
		ok := false
		for n := last; n < end; n += fewKeys {
			if deletes(n) && e == nil || !deletes(n) && e != nil && *e == some(key, n) {
				ok = true
			}
		}
		if !ok {
			t.Fatalf("kill %d: change %d of %s was acknowledged (deletion: %v), and found is %+v", kill, last, key, deletes(last), e)
		}
	}
	if n := int64(len(keysOf(t, d, ""))); n != d.Len() {
		t.Fatalf("kill %d: %d entries, and Len says %d", kill, n, d.Len())
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	cmd := child(t, "hold", dir, 0)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "holding\n" {
		t.Fatalf("the child said %q", line)
	}
	if _, err := open(dir, 3*lockPoll); !errors.Is(err, ErrInUse) {
		t.Errorf("error %v, want ErrInUse", err)
	} else if !strings.Contains(err.Error(), "--state-dir") {
		t.Errorf("%q does not say what to do", err)
	}

	// A predecessor that is just ending is waited for.
	opened := make(chan error)
	go func() {
		d, err := open(dir, time.Minute)
		if err == nil {
			err = d.Close()
		}
		opened <- err
	}()
	stdin.Close()
	if err := <-opened; err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Two processes that find a damaged base do not put aside what the other has
// just begun.
func TestInUseAndDamaged(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/"+fileName, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := mustOpen(t, dir)
	if first.PutAside == "" {
		t.Fatal("garbage was taken for a base")
	}
	opened := make(chan *DB)
	go func() {
		second, err := open(dir, time.Minute)
		if err != nil {
			t.Error(err)
		}
		opened <- second
	}()
	put(t, first, some("a", 1))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := <-opened
	if second == nil {
		return
	}
	defer second.Close()
	if e, err := second.Get("a"); second.PutAside != "" || err != nil || e == nil || *e != (entry.Base)(some("a", 1)) {
		t.Errorf("put aside %q, found %v, %v", second.PutAside, e, err)
	}
}
