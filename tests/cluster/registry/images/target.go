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
	v1 "github.com/google/go-containerregistry/pkg/v1"
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

// Pushed is an image that is in the registry.
type Pushed struct {
	// Reference is REPOSITORY:TAG, without a host.
	Reference string   `json:"reference"`
	Digest    string   `json:"digest"`
	MediaType string   `json:"media_type"`
	AlsoTags  []string `json:"also_tags"`
	// Bytes of all blobs and manifests that a node of one platform can fetch;
	// with an index, of all its platforms.
	Bytes  int64   `json:"bytes"`
	Images []Image `json:"images"`
}

// Image is one platform's part of what was pushed.
type Image struct {
	Platform string   `json:"platform"`
	Digest   string   `json:"digest"`
	Config   string   `json:"config"`
	Layers   []string `json:"layers"`
	// Bytes of the layers and the config.
	Bytes int64 `json:"bytes"`
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

func describe(built Built) (Pushed, error) {
	digest, err := built.Digest()
	if err != nil {
		return Pushed{}, err
	}
	mediaType, err := built.MediaType()
	if err != nil {
		return Pushed{}, err
	}
	size, err := built.Size()
	if err != nil {
		return Pushed{}, err
	}
	pushed := Pushed{Digest: digest.String(), MediaType: string(mediaType), Bytes: size, Images: []Image{}}
	images, err := imagesOf(built)
	if err != nil {
		return Pushed{}, err
	}
	index := mediaType.IsIndex()
	for _, image := range images {
		part, manifestBytes, err := describeImage(image)
		if err != nil {
			return Pushed{}, err
		}
		pushed.Images = append(pushed.Images, part)
		pushed.Bytes += part.Bytes
		if index {
			pushed.Bytes += manifestBytes
		}
	}
	return pushed, nil
}

// imagesOf are the images of an index, or the one there is.
func imagesOf(built Built) ([]v1.Image, error) {
	switch kind := built.(type) {
	case v1.Image:
		return []v1.Image{kind}, nil
	case v1.ImageIndex:
		manifest, err := kind.IndexManifest()
		if err != nil {
			return nil, err
		}
		var images []v1.Image
		for _, entry := range manifest.Manifests {
			if !entry.MediaType.IsImage() {
				continue
			}
			image, err := kind.Image(entry.Digest)
			if err != nil {
				return nil, err
			}
			images = append(images, image)
		}
		return images, nil
	default:
		return nil, fmt.Errorf("neither an image nor an index: %T", built)
	}
}

func describeImage(image v1.Image) (Image, int64, error) {
	digest, err := image.Digest()
	if err != nil {
		return Image{}, 0, err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return Image{}, 0, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return Image{}, 0, err
	}
	size, err := image.Size()
	if err != nil {
		return Image{}, 0, err
	}
	platform := v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	part := Image{
		Platform: platform.String(), Digest: digest.String(), Config: manifest.Config.Digest.String(),
		Bytes: manifest.Config.Size, Layers: []string{},
	}
	for _, layer := range manifest.Layers {
		part.Layers = append(part.Layers, layer.Digest.String())
		part.Bytes += layer.Size
	}
	return part, size, nil
}
