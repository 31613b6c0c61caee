package images

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

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
