package syncer

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// relay passes connections on to the store, and can lose those that it has: it
// keeps them open and says nothing any more, as a firewall does that forgot them.
type relay struct {
	net.Listener
	to   string
	mu   sync.Mutex
	lost chan struct{} // closed when the present connections are lost
}

func (r *relay) serve(t *testing.T, group *sync.WaitGroup) {
	for {
		client, err := r.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		lost := r.lost
		r.mu.Unlock()
		server, err := net.Dial("tcp", r.to)
		if err != nil {
			t.Error(err)
			client.Close()
			return
		}
		t.Cleanup(func() { client.Close(); server.Close() })
		pass := func(to, from net.Conn) {
			buf := make([]byte, 32<<10)
			for {
				n, err := from.Read(buf)
				select {
				case <-lost:
					return
				default:
				}
				if err != nil {
					to.Close()
					return
				}
				if _, err := to.Write(buf[:n]); err != nil {
					from.Close()
					return
				}
			}
		}
		group.Go(func() { pass(server, client) })
		group.Go(func() { pass(client, server) })
	}
}

func (r *relay) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.lost)
	r.lost = make(chan struct{})
}

// TestHalfOpenConnections: connections whose other end has forgotten them are
// given up, though nobody closes them, and new ones are made.
func TestHalfOpenConnections(t *testing.T) {
	t.Parallel() // it waits for most of the time
	server := testenv.MinIO(t)
	r := newRig(t, server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hop := &relay{Listener: listener, to: strings.TrimPrefix(server.Endpoint, "http://"), lost: make(chan struct{})}
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	group.Go(func() { hop.serve(t, &group) })
	t.Cleanup(func() { hop.Close() })
	r.endpoint = "http://" + listener.Addr().String()

	a := r.node(t)
	a.stall = time.Second
	a.start()
	a.fill(40) // many connections are open now
	hop.lose()
	a.write("d0/0", "changed")
	for i := range 40 {
		a.write(fmt.Sprint("after/", i), "x")
	}
	a.flush()
	a.hasKeys(80)
	a.await("well", func() bool { return condition(a) == status.OK })
	a.mustStop()
	a.verify()
}
