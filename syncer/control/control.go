// Package control is how others talk to a running syncer: `syncer status` and
// `syncer flush` through a Unix socket in the state directory, Prometheus and
// the app through a TCP port.
//
// Whoever may open the socket may do everything that it offers; that is the
// user that the syncer runs as, and root. The port is open to the network and
// so offers numbers only, but for a flush that is asked for on loopback.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/minio-sidecar/minio-sidecar/syncer/status"
)

// Engine is what can be asked of a running syncer.
type Engine interface {
	Status() status.Status
	// Flush returns when all that was written before the call is acknowledged.
	Flush(ctx context.Context, confirmDeletes bool) error
}

// Explain turns an error into an exit code and a sentence for people.
type Explain func(error) (exitCode int, sentence string)

// Failure is an error of the running syncer, as told to a client.
type Failure struct {
	ExitCode int    `json:"exitCode"`
	Sentence string `json:"error"`
}

func (f *Failure) Error() string { return f.Sentence }

// Routes, and the query parameter of the flush.
const (
	statusRoute       = "/status"
	flushRoute        = "/flush"
	confirmParameter  = "confirm-deletes"
	metricsRoute      = "/metrics"
	healthRoute       = "/healthz"
	shutdownGrace     = time.Second
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// Serve answers on l with h until ctx is done; requests that are then under
// way are cancelled. It closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// No WriteTimeout: a flush answers when it is done.
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		cancel()
		grace, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer done()
		if server.Shutdown(grace) != nil {
			_ = server.Close() // whoever still reads has had its time
		}
	})
	err := server.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}
