package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

type connectionKey struct{}

// WithConnection keeps a request's connection where a rule can reset it; it is
// for http.Server.ConnContext.
func WithConnection(ctx context.Context, connection net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, connection)
}

// Apply does to requests what the rules say, and lets the others through.
func (s *Set) Apply(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		todo := s.take(r)
		if todo.delay > 0 {
			select {
			case <-time.After(todo.delay):
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
		if todo.end != nil && todo.end.Effect == Hang {
			select {
			case <-todo.cleared:
			case <-r.Context().Done():
			}
			panic(http.ErrAbortHandler)
		}
		if todo.end != nil && todo.end.Effect == Status {
			refuse(w, r, *todo.end)
			return
		}
		if len(todo.throttles) > 0 || todo.end != nil {
			w = &body{ResponseWriter: w, request: r, plan: todo}
		}
		next.ServeHTTP(w, r)
		// A body shorter than that has not been cut yet.
		if todo.end != nil && todo.end.Effect == Reset {
			reset(w, r)
		}
	})
}

// codes are the error codes of the distribution specification for a status.
var codes = map[int]string{
	http.StatusUnauthorized:    "UNAUTHORIZED",
	http.StatusForbidden:       "DENIED",
	http.StatusNotFound:        "NOT_FOUND",
	http.StatusTooManyRequests: "TOOMANYREQUESTS",
}

func refuse(w http.ResponseWriter, r *http.Request, rule Rule) {
	if rule.RetryAfter != "" {
		w.Header().Set("Retry-After", rule.RetryAfter)
	}
	if rule.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", r.Host))
	}
	code := codes[rule.Status]
	if code == "" {
		code = "UNKNOWN"
	}
	WriteError(w, rule.Status, code, http.StatusText(rule.Status))
}

// WriteError answers an error as registries do.
func WriteError(w http.ResponseWriter, status int, code, message string) {
	type item struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	content, err := json.Marshal(map[string][]item{"errors": {{code, message}}})
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	w.Write(content)
}
