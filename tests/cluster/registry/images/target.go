package images

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Target is the registry that images are pushed to: the store, or a face of it.
type Target struct {
	host    string
	options []remote.Option
}

// NewTarget reaches a registry at a URL. Without a user nobody signs in; ca is
// in PEM, and empty where there is no TLS.
func NewTarget(ctx context.Context, at, user, password string, ca []byte) (*Target, error) {
	parsed, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	transport := remote.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	if len(ca) > 0 {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(ca)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	auth := authn.Anonymous
	if user != "" {
		auth = &authn.Basic{Username: user, Password: password}
	}
	return &Target{parsed.Host, []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(transport), remote.WithAuth(auth), remote.WithJobs(2),
	}}, nil
}

// Tag parses REPOSITORY:TAG.
func (t *Target) Tag(text string) (name.Tag, error) {
	tag, err := name.NewTag(t.host+"/"+text, name.Insecure, name.StrictValidation)
	if err != nil {
		return name.Tag{}, fmt.Errorf("%q is not a name such as team/app:1.0: %w", text, errors.Unwrap(err))
	}
	return tag, nil
}

// Push pushes an image under a tag, and the tag is its own from then on.
func (t *Target) Push(tag name.Tag, built Built, also ...string) (Pushed, error) {
	pushed, err := describe(built)
	if err != nil {
		return Pushed{}, err
	}
	pushed.Reference = tag.RepositoryStr() + ":" + tag.TagStr()
	pushed.AlsoTags = append([]string{}, also...)
	if err := remote.Push(tag, built, t.options...); err != nil {
		return Pushed{}, fmt.Errorf("pushing %s: %w", pushed.Reference, err)
	}
	for _, other := range also {
		if err := remote.Tag(tag.Context().Tag(other), built, t.options...); err != nil {
			return Pushed{}, fmt.Errorf("tagging %s as %s: %w", pushed.Reference, other, err)
		}
	}
	return pushed, nil
}
