// Package control is the HTTP API by which tests make faces, set faults and read
// counts, and its client. The store itself is there too, below /v2/, without
// password, faults or counts: that is where images are pushed to.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"quayctl.test/registry/face"
	"quayctl.test/registry/names"
	"quayctl.test/registry/store"
)

const (
	// maxBodyBytes is a raw manifest of 1 MiB in base64, and more than all else.
	maxBodyBytes   = 2 << 20
	requestTimeout = 30 * time.Second
)

// API is all that can be controlled.
type API struct {
	Store *store.Store
	Faces *face.Set
	Zone  *names.Zone
	// Interface is the one that PUT /link limits.
	Interface string
}

// Server answers the API at an address.
func (a *API) Server() *http.Server {
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(*http.Request) (any, error){
		"GET /faces":                                 a.listFaces,
		"POST /faces":                                a.addFace,
		"DELETE /faces/{face}":                       a.removeFace,
		"POST /faces/{face}/stop":                    a.stopFace,
		"POST /faces/{face}/start":                   a.startFace,
		"GET /faces/{face}/faults":                   a.listFaults,
		"POST /faces/{face}/faults":                  a.addFault,
		"DELETE /faces/{face}/faults":                a.clearFaults,
		"DELETE /faces/{face}/faults/{id}":           a.clearFaults,
		"GET /counts":                                a.readCounts,
		"DELETE /counts":                             a.readCounts,
		"GET /link":                                  a.readLink,
		"PUT /link":                                  a.limitLink,
		"GET /names":                                 a.listNames,
		"PUT /names/{name}":                          a.setName,
		"DELETE /names/{name}":                       a.clearName,
		"GET /ca":                                    a.authority,
		"POST /store/corrupt":                        a.corrupt,
		"POST /store/manifests":                      a.putRaw,
		"DELETE /store/repositories/{repository...}": a.removeRepository,
	} {
		mux.Handle(pattern, http.TimeoutHandler(respond(answer), requestTimeout, `{"error":"timed out"}`))
	}
	mux.Handle("/v2/", a.Store)
	return &http.Server{Handler: mux, ReadHeaderTimeout: requestTimeout, IdleTimeout: 5 * time.Minute}
}

// respond answers what a function returns: 200 with its JSON, 404 or 400 with
// {"error": …}.
func respond(answer func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		value, err := answer(r)
		status := http.StatusOK
		if err != nil {
			status = http.StatusBadRequest
			if errors.Is(err, face.ErrUnknownFace) {
				status = http.StatusNotFound
			}
			value = failure{err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(value)
	})
}

type failure struct {
	Error string `json:"error"`
}

// read decodes a body that has nothing but what is asked for.
func read(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("reading the request: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("reading the request: something follows the JSON")
	}
	return nil
}
