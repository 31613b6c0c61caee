// Package images makes images of any size and shape, and pushes them.
package images

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxLayers is what overlayfs mounts in one go, and then some.
const maxLayers = 200

// Spec is an image to make. The same Spec is the same image, byte for byte.
type Spec struct {
	// Bytes of random content, over all layers of one platform.
	Bytes int64
	// Layers that the random content is shared out to.
	Layers int
	// Seed of the random content; images with another seed share no layer.
	Seed string
	// Platforms it is for. With several it is an index, with one a plain manifest.
	Platforms []v1.Platform
	// Index makes it an index with one platform as well.
	Index bool
	// Files are put into a layer before the random ones.
	Files      []File
	Entrypoint []string
	Env        []string
	User       string
}

// File of this machine in an image, with mode 0755.
type File struct {
	// Path in the image, absolute.
	Path string
	// Source is the path of this machine.
	Source string
}

func (s Spec) validate() error {
	if s.Layers < 0 || s.Layers > maxLayers {
		return fmt.Errorf("%d layers are asked for; use 0 to %d", s.Layers, maxLayers)
	}
	if s.Bytes < 0 {
		return fmt.Errorf("size is %d; use 0 or more", s.Bytes)
	}
	if s.Bytes > 0 && s.Layers == 0 {
		return fmt.Errorf("%d bytes cannot go into no layer", s.Bytes)
	}
	if s.Layers == 0 && len(s.Files) == 0 {
		return fmt.Errorf("an image without layers is asked for; give it a file, or 1 layer or more")
	}
	if len(s.Platforms) == 0 {
		return fmt.Errorf("no platform is given")
	}
	return nil
}
