package face

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"quayctl.test/registry/store"
	"slices"
	"sync"
)

// maxFaces bounds listeners.
const maxFaces = 100

// Place is where faces are made.
type Place struct {
	Address net.IP
	Zone    string
	// HostsDir is containerd's config_path; empty: nothing is written.
	HostsDir string
	// CacheDir holds what pull-through caches keep.
	CacheDir string
}

// Set is all faces of one store.
type Set struct {
	place          Place
	content        http.Handler
	known, unknown *authority

	mutex sync.Mutex
	faces []*Face
}

// NewSet makes the CAs that faces have certificates of.
func NewSet(place Place, content http.Handler) (*Set, error) {
	known, err := newAuthority("test bed, known")
	if err != nil {
		return nil, err
	}
	unknown, err := newAuthority("test bed, unknown")
	if err != nil {
		return nil, err
	}
	return &Set{place: place, content: content, known: known, unknown: unknown}, nil
}

// CA is the known CA's certificate, in PEM.
func (s *Set) CA() []byte { return s.known.pem() }

// Add makes a face and starts it.
func (s *Set) Add(options Options) (State, error) {
	if err := options.validate(); err != nil {
		return State{}, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.find(options.Name) != nil {
		return State{}, fmt.Errorf("there is a face %s already; remove it first", options.Name)
	}
	if len(s.faces) >= maxFaces {
		return State{}, fmt.Errorf("there are %d faces already; remove one", len(s.faces))
	}
	made, err := s.make(options)
	if err != nil {
		return State{}, err
	}
	if err := made.Start(); err != nil {
		return State{}, errors.Join(err, made.close())
	}
	if err := writeHosts(s.place.HostsDir, made, s.CA()); err != nil {
		return State{}, errors.Join(err, made.close())
	}
	s.faces = append(s.faces, made)
	slices.SortFunc(s.faces, func(a, b *Face) int { return cmp.Compare(a.options.Name, b.options.Name) })
	return made.State(), nil
}

func (s *Set) make(options Options) (*Face, error) {
	content := s.content
	var cache *store.Cache
	if options.CacheOf != "" {
		of := s.find(options.CacheOf)
		if of == nil {
			return nil, fmt.Errorf("no face %s to be a cache of", options.CacheOf)
		}
		upstream := of.State()
		if upstream.TLS != NoTLS {
			return nil, fmt.Errorf("face %s has TLS, and a cache of it would not trust it; use one without", options.CacheOf)
		}
		var err error
		cache, err = store.OpenCache(filepath.Join(s.place.CacheDir, options.Name),
			store.Upstream{URL: upstream.URL, User: upstream.User, Password: upstream.Password})
		if err != nil {
			return nil, err
		}
		content = cache
	}
	made := newFace(options, s.place.Zone, s.place.Address, content)
	if cache != nil {
		made.cache = cache
	}
	issuer := map[string]*authority{Known: s.known, Unknown: s.unknown}[options.TLS]
	if issuer != nil {
		certificate, err := issuer.issue(made.host, s.place.Address)
		if err != nil {
			return nil, errors.Join(err, made.close())
		}
		made.config = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	}
	return made, nil
}

// Remove ends a face and takes it from containerd's folder.
func (s *Set) Remove(name string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found := s.find(name)
	if found == nil {
		return unknownFace(name)
	}
	s.faces = slices.DeleteFunc(s.faces, func(f *Face) bool { return f == found })
	return errors.Join(found.close(), removeHosts(s.place.HostsDir, found))
}

// Get finds a face by its name.
func (s *Set) Get(name string) (*Face, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if found := s.find(name); found != nil {
		return found, nil
	}
	return nil, unknownFace(name)
}

// All returns the faces by name.
func (s *Set) All() []*Face {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.faces)
}

// Close ends all faces.
func (s *Set) Close() error {
	var err error
	for _, f := range s.All() {
		err = errors.Join(err, s.Remove(f.options.Name))
	}
	return err
}

func (s *Set) find(name string) *Face {
	for _, f := range s.faces {
		if f.options.Name == name {
			return f
		}
	}
	return nil
}

// ErrUnknownFace is what a face's name leads to that there is none of.
var ErrUnknownFace = errors.New("no such face")

func unknownFace(name string) error {
	return fmt.Errorf("%w: %q; add it, or see the list of faces", ErrUnknownFace, name)
}
