package face

import (
	"fmt"
	"regexp"
)

// How a face asks who is there.
const (
	NoAuth = "none"
	Basic  = "basic"
	Token  = "token"
)

// Whose certificate a face has.
const (
	NoTLS   = "none"
	Known   = "known"   // of a CA that the nodes' containerd is told to trust
	Unknown = "unknown" // of a CA that nobody knows
)

// Options say what a face is like.
type Options struct {
	// Name is a DNS label; the face's host is NAME.ZONE:PORT.
	Name string `json:"name"`
	// Port to listen at; 0: one that is free.
	Port     int    `json:"port"`
	Auth     string `json:"auth"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	TLS      string `json:"tls"`
	// CacheOf names the face that this one is a pull-through cache of; without,
	// it shows the store.
	CacheOf string `json:"cache_of,omitempty"`
}

// label is a DNS label of RFC 1123, in lower case.
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// validate completes options and says what is wrong with them.
func (o *Options) validate() error {
	if !label.MatchString(o.Name) {
		return fmt.Errorf("name is %q; use a DNS label, such as private-1", o.Name)
	}
	if o.Port < 0 || o.Port > 65535 {
		return fmt.Errorf("port is %d; use 1 to 65535, or 0 for one that is free", o.Port)
	}
	if o.Auth == "" {
		o.Auth = NoAuth
	}
	if o.TLS == "" {
		o.TLS = NoTLS
	}
	switch o.Auth {
	case NoAuth:
		if o.User != "" || o.Password != "" {
			return fmt.Errorf("a user is given, but auth is %s; use %s or %s", NoAuth, Basic, Token)
		}
	case Basic, Token:
		if o.User == "" || o.Password == "" {
			return fmt.Errorf("auth is %s; give a user and a password", o.Auth)
		}
	default:
		return fmt.Errorf("auth is %q; use %s, %s or %s", o.Auth, NoAuth, Basic, Token)
	}
	if o.TLS != NoTLS && o.TLS != Known && o.TLS != Unknown {
		return fmt.Errorf("tls is %q; use %s, %s or %s", o.TLS, NoTLS, Known, Unknown)
	}
	return nil
}

func (o *Options) scheme() string {
	if o.TLS == NoTLS {
		return "http"
	}
	return "https"
}
