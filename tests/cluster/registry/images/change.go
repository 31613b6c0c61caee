package images

import (
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Retag lets a further tag name what a tag or digest names.
func (t *Target) Retag(text, tag string) (string, error) {
	from, err := t.reference(text)
	if err != nil {
		return "", err
	}
	found, err := remote.Get(from, t.options...)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", text, err)
	}
	to, err := name.NewTag(from.Context().Name()+":"+tag, name.Insecure, name.StrictValidation)
	if err != nil {
		return "", fmt.Errorf("invalid tag %q", tag)
	}
	if err := remote.Tag(to, found, t.options...); err != nil {
		return "", fmt.Errorf("tagging %s as %s: %w", text, tag, err)
	}
	return found.Digest.String(), nil
}

// Delete removes a tag, or a manifest by its digest together with its tags.
func (t *Target) Delete(text string) error {
	found, err := t.reference(text)
	if err != nil {
		return err
	}
	if err := remote.Delete(found, t.options...); err != nil {
		return fmt.Errorf("deleting %s: %w", text, err)
	}
	return nil
}

// reference parses REPOSITORY:TAG or REPOSITORY@DIGEST.
func (t *Target) reference(text string) (name.Reference, error) {
	parsed, err := name.ParseReference(t.host+"/"+text, name.Insecure, name.StrictValidation)
	if err != nil {
		return nil, fmt.Errorf("%q is not a name such as team/app:1.0 or team/app@sha256:…", text)
	}
	return parsed, nil
}
