package store

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Manifests that distribution would refuse are few and small.
const (
	maxRawManifests     = 100
	maxRawManifestBytes = 1 << 20
)

// RawManifest is a manifest that is answered as it stands, whatever it says: for
// media types that distribution does not take, such as Docker's schema 1.
type RawManifest struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	MediaType  string `json:"media_type"`
	Content    []byte `json:"content"` // base64 in JSON
}

// rawManifests lie in front of distribution's store, and are gone with the process.
type rawManifests struct {
	mutex     sync.Mutex
	manifests []RawManifest
}

// PutRaw adds a manifest, or replaces the one its tag named, and returns its digest.
func (s *Store) PutRaw(manifest RawManifest) (digest.Digest, error) {
	named, err := reference.WithName(manifest.Repository)
	if err != nil {
		return "", fmt.Errorf("invalid repository name %q: %w", manifest.Repository, err)
	}
	if _, err := reference.WithTag(named, manifest.Tag); err != nil {
		return "", fmt.Errorf("invalid tag %q: %w", manifest.Tag, err)
	}
	if len(manifest.Content) > maxRawManifestBytes {
		return "", fmt.Errorf("the manifest has %d bytes, more than %d", len(manifest.Content), maxRawManifestBytes)
	}
	raw := &s.raw
	raw.mutex.Lock()
	defer raw.mutex.Unlock()
	raw.manifests = slices.DeleteFunc(raw.manifests, func(m RawManifest) bool {
		return m.Repository == manifest.Repository && m.Tag == manifest.Tag
	})
	if len(raw.manifests) >= maxRawManifests {
		return "", fmt.Errorf("there are %d raw manifests already; delete one", len(raw.manifests))
	}
	raw.manifests = append(raw.manifests, manifest)
	return digest.FromBytes(manifest.Content), nil
}

// remove removes those of a repository, and says whether there was one.
func (raw *rawManifests) remove(repository string) bool {
	raw.mutex.Lock()
	defer raw.mutex.Unlock()
	before := len(raw.manifests)
	raw.manifests = slices.DeleteFunc(raw.manifests, func(m RawManifest) bool { return m.Repository == repository })
	return len(raw.manifests) < before
}

// serve answers what names a raw manifest, and says whether it has. A push to
// its tag, or its removal, ends it.
func (raw *rawManifests) serve(w http.ResponseWriter, r *http.Request) bool {
	repository, name, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
	if !ok {
		return false
	}
	raw.mutex.Lock()
	at := slices.IndexFunc(raw.manifests, func(m RawManifest) bool {
		return m.Repository == repository && (m.Tag == name || digest.FromBytes(m.Content).String() == name)
	})
	if at < 0 {
		raw.mutex.Unlock()
		return false
	}
	manifest := raw.manifests[at]
	if r.Method == http.MethodPut || r.Method == http.MethodDelete {
		raw.manifests = slices.Delete(raw.manifests, at, at+1)
	}
	raw.mutex.Unlock()
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		w.Header().Set("Content-Type", manifest.MediaType)
		w.Header().Set("Content-Length", strconv.Itoa(len(manifest.Content)))
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(manifest.Content).String())
		if r.Method == http.MethodGet {
			w.Write(manifest.Content)
		}
		return true
	case http.MethodDelete:
		w.WriteHeader(http.StatusAccepted)
		return true
	default:
		return false
	}
}
