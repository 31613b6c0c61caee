package images

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// created is the same in every run, as images are to be.
var created = v1.Time{Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}

// Built is an image or an index, ready to be pushed.
type Built interface {
	remote.Taggable
	partial.Describable
}

// Build makes what a Spec says. Layers are made again each time they are read,
// so that a large image needs no memory.
func Build(spec Spec) (Built, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	images := make([]v1.Image, len(spec.Platforms))
	for at, platform := range spec.Platforms {
		var err error
		if images[at], err = image(spec, platform); err != nil {
			return nil, err
		}
	}
	if len(images) == 1 && !spec.Index {
		return images[0], nil
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for at, made := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        made,
			Descriptor: v1.Descriptor{Platform: &spec.Platforms[at]},
		})
	}
	return index, nil
}

func image(spec Spec, platform v1.Platform) (v1.Image, error) {
	var layers []v1.Layer
	if len(spec.Files) > 0 {
		files, err := fileLayer(spec.Files)
		if err != nil {
			return nil, err
		}
		layers = append(layers, files)
	}
	for number := range spec.Layers {
		bytes := spec.Bytes / int64(spec.Layers)
		if number == 0 {
			bytes += spec.Bytes % int64(spec.Layers)
		}
		layer, err := randomLayer(spec.Seed+" "+platform.String(), number, bytes)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	filled, err := mutate.AppendLayers(base, layers...)
	if err != nil {
		return nil, err
	}
	file, err := filled.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Created = created
	file.OS, file.Architecture, file.Variant = platform.OS, platform.Architecture, platform.Variant
	file.Config = v1.Config{Entrypoint: spec.Entrypoint, Env: spec.Env, User: spec.User}
	return mutate.ConfigFile(filled, file)
}
