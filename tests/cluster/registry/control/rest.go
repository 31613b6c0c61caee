package control

import (
	"net/http"

	"github.com/opencontainers/go-digest"

	"quayctl.test/registry/link"
	"quayctl.test/registry/names"
	"quayctl.test/registry/store"
)

// LinkLimit is what PUT /link takes.
type LinkLimit struct {
	RateBits uint64 `json:"rate_bits"`
}

// NameAnswer is what PUT /names/NAME takes.
type NameAnswer struct {
	Answer names.Answer `json:"answer"`
}

// Digest names one blob or manifest.
type Digest struct {
	Digest digest.Digest `json:"digest"`
}

// Authority is the CA of faces with a known one.
type Authority struct {
	PEM string `json:"pem"`
}

func (a *API) readLink(*http.Request) (any, error) { return link.Read(a.Interface) }

func (a *API) limitLink(r *http.Request) (any, error) {
	var limit LinkLimit
	if err := read(r, &limit); err != nil {
		return nil, err
	}
	return link.Limit(a.Interface, limit.RateBits)
}

func (a *API) listNames(*http.Request) (any, error) { return a.Zone.Overrides(), nil }

func (a *API) setName(r *http.Request) (any, error) {
	var answer NameAnswer
	if err := read(r, &answer); err != nil {
		return nil, err
	}
	if err := a.Zone.Set(r.PathValue("name"), answer.Answer); err != nil {
		return nil, err
	}
	return a.Zone.Overrides(), nil
}

func (a *API) clearName(r *http.Request) (any, error) {
	a.Zone.Clear(r.PathValue("name"))
	return a.Zone.Overrides(), nil
}

func (a *API) authority(*http.Request) (any, error) { return Authority{string(a.Faces.CA())}, nil }

func (a *API) corrupt(r *http.Request) (any, error) {
	var blob Digest
	if err := read(r, &blob); err != nil {
		return nil, err
	}
	return blob, a.Store.Corrupt(blob.Digest)
}

func (a *API) putRaw(r *http.Request) (any, error) {
	var manifest store.RawManifest
	if err := read(r, &manifest); err != nil {
		return nil, err
	}
	put, err := a.Store.PutRaw(manifest)
	return Digest{put}, err
}

func (a *API) removeRepository(r *http.Request) (any, error) {
	name := r.PathValue("repository")
	return Removed{name}, a.Store.RemoveRepository(name)
}
