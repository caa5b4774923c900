package control

import (
	"fmt"
	"net/http"
	"strconv"
)

// Local is the handler behind the control socket:
//
//	GET  /status                     → 200 and a status.Status as JSON
//	POST /flush?confirm-deletes=true → 200 when done, else 503 and a Failure
func Local(e Engine, explain Explain) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statusRoute, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, e.Status())
	})
	mux.HandleFunc("POST "+flushRoute, func(w http.ResponseWriter, r *http.Request) {
		confirm := false
		if text := r.URL.Query().Get(confirmParameter); text != "" {
			var err error
			if confirm, err = strconv.ParseBool(text); err != nil {
				http.Error(w, fmt.Sprintf("%s: %q is neither true nor false", confirmParameter, text), http.StatusBadRequest)
				return
			}
		}
		flush(w, r, e, explain, confirm)
	})
	return mux
}

// flush answers when everything written before the request is acknowledged.
func flush(w http.ResponseWriter, r *http.Request, e Engine, explain Explain, confirm bool) {
	if err := e.Flush(r.Context(), confirm); err != nil {
		code, sentence := explain(err)
		answer(w, http.StatusServiceUnavailable, &Failure{ExitCode: code, Sentence: sentence})
		return
	}
	answer(w, http.StatusOK, struct {
		Flushed bool `json:"flushed"`
	}{true})
}
