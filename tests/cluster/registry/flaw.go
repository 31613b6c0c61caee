package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"quayctl.test/registry/control"
	"quayctl.test/registry/images"
	"quayctl.test/registry/store"
)

// What --break does to an image that was pushed.
const (
	missingBlob  = "missing-blob"  // its last layer is not in the repository
	corruptLayer = "corrupt-layer" // its last layer has another digest than it goes by
	schema1      = "schema-1"      // it is a manifest of Docker's old kind instead
)

// newFlaw returns what is to be done to an image after it was pushed.
func newFlaw(kind string, client *control.Client) (func(name.Tag, images.Pushed) error, error) {
	switch kind {
	case "", schema1:
		return func(name.Tag, images.Pushed) error { return nil }, nil
	case missingBlob:
		return func(tag name.Tag, pushed images.Pushed) error {
			layer, err := lastLayer(pushed)
			if err != nil {
				return err
			}
			return dropBlob(client, tag.RepositoryStr(), layer)
		}, nil
	case corruptLayer:
		return func(_ name.Tag, pushed images.Pushed) error {
			layer, err := lastLayer(pushed)
			if err != nil {
				return err
			}
			var answer control.Digest
			return client.Call(http.MethodPost, "/store/corrupt", control.Digest{Digest: layer}, &answer)
		}, nil
	default:
		return nil, fmt.Errorf("--break is %q; use %s, %s or %s", kind, missingBlob, corruptLayer, schema1)
	}
}

// lastLayer is the one of an image's first platform.
func lastLayer(pushed images.Pushed) (digest.Digest, error) {
	if len(pushed.Images) == 0 || len(pushed.Images[0].Layers) == 0 {
		return "", errors.New("the image has no layer to break")
	}
	layers := pushed.Images[0].Layers
	return digest.Digest(layers[len(layers)-1]), nil
}

// dropBlob takes a blob out of a repository. To have it back, delete the
// repository and push again: where the manifest is there, a push sends no blob.
func dropBlob(client *control.Client, repository string, blob digest.Digest) error {
	request, err := http.NewRequest(http.MethodDelete, fmt.Sprintf("http://%s/v2/%s/blobs/%s", client.Host(), repository, blob), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("removing blob %s of %s: %s", blob, repository, response.Status)
	}
	return nil
}

// pushSchema1 puts a manifest under a tag as Docker made them until 2016.
func pushSchema1(client *control.Client, tag name.Tag) error {
	layer := digest.FromString(tag.String())
	content, err := json.MarshalIndent(map[string]any{
		"schemaVersion": 1,
		"name":          tag.RepositoryStr(),
		"tag":           tag.TagStr(),
		"architecture":  "amd64",
		"fsLayers":      []map[string]digest.Digest{{"blobSum": layer}},
		"history":       []map[string]string{{"v1Compatibility": `{"architecture":"amd64","os":"linux"}`}},
	}, "", "   ")
	if err != nil {
		return err
	}
	var put control.Digest
	err = client.Call(http.MethodPost, "/store/manifests", store.RawManifest{
		Repository: tag.RepositoryStr(), Tag: tag.TagStr(), MediaType: string(types.DockerManifestSchema1Signed), Content: content,
	}, &put)
	if err != nil {
		return err
	}
	return show(images.Pushed{
		Reference: tag.RepositoryStr() + ":" + tag.TagStr(), Digest: put.Digest.String(),
		MediaType: string(types.DockerManifestSchema1Signed), AlsoTags: []string{}, Bytes: int64(len(content)), Images: []images.Image{},
	})
}
