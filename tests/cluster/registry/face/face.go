// Package face shows the store at ports of their own, each with its own
// password, certificate, faults and counts.
package face

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"quayctl.test/registry/counts"
	"quayctl.test/registry/fault"
)

// maxRequests bounds what hangs or is throttled at one face.
const maxRequests = 2000

// Face is one listener. Its faults and counts stay while it is stopped.
type Face struct {
	options Options
	host    string
	address net.IP
	config  *tls.Config // nil without TLS
	handler http.Handler
	cache   io.Closer // nil where the store is shown

	Faults fault.Set
	Counts *counts.Counter

	mutex  sync.Mutex
	server *http.Server // nil while stopped
}

// State is what is to be told of a face.
type State struct {
	Options
	// Host is for image references: NAME.ZONE:PORT.
	Host string `json:"host"`
	// URL reaches the face without DNS.
	URL     string `json:"url"`
	Serving bool   `json:"serving"`
	Rules   int    `json:"rules"`
}

func newFace(options Options, zone string, address net.IP, content http.Handler) *Face {
	f := &Face{options: options, host: options.Name + "." + zone, address: address, Counts: counts.New()}
	f.handler = f.Counts.Count(limit(newGuard(options).protect(f.Faults.Apply, content)))
	return f
}

func limit(next http.Handler) http.Handler {
	active := make(chan struct{}, maxRequests)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case active <- struct{}{}:
			defer func() { <-active }()
			next.ServeHTTP(w, r)
		default:
			fault.WriteError(w, http.StatusServiceUnavailable, "UNKNOWN", "the test bed's face has too many requests")
		}
	})
}

// Host is NAME.ZONE:PORT.
func (f *Face) Host() string { return net.JoinHostPort(f.host, strconv.Itoa(f.options.Port)) }

// State describes the face as it is now.
func (f *Face) State() State {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	url := f.options.scheme() + "://" + net.JoinHostPort(f.address.String(), strconv.Itoa(f.options.Port))
	return State{f.options, f.Host(), url, f.server != nil, len(f.Faults.List())}
}

// Start listens, at the same port as before if it was stopped. Starting what
// runs changes nothing.
func (f *Face) Start() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(f.address.String(), strconv.Itoa(f.options.Port)))
	if err != nil {
		return fmt.Errorf("listening for %s: %w", f.options.Name, err)
	}
	f.options.Port = listener.Addr().(*net.TCPAddr).Port
	f.server = &http.Server{
		Handler:           f.handler,
		ConnContext:       fault.WithConnection,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       5 * time.Minute,
		TLSConfig:         f.config,
		// A connection of HTTP/2 is not one request's to reset.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		// Clients that give up and certificates they refuse are what tests are about.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go func(server *http.Server) {
		if f.config != nil {
			_ = server.ServeTLS(listener, "", "")
		} else {
			_ = server.Serve(listener)
		}
	}(f.server)
	return nil
}

// Stop closes the listener, so that connections are refused, and cuts those there are.
func (f *Face) Stop() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.server == nil {
		return nil
	}
	err := f.server.Close()
	f.server = nil
	return err
}

func (f *Face) close() error {
	err := f.Stop()
	f.Faults.Clear(0)
	if f.cache != nil {
		err = errors.Join(err, f.cache.Close())
	}
	return err
}
