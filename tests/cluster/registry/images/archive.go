package images

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// OpenArchive unpacks an OCI archive, as `buildah push … oci-archive:FILE` writes
// it, into a folder, and returns the image or index in it.
func OpenArchive(file, into string) (Built, error) {
	if err := unpack(file, into); err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", file, err)
	}
	index, err := layout.ImageIndexFromPath(into)
	if err != nil {
		return nil, fmt.Errorf("reading %s as an OCI archive: %w", file, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("reading %s as an OCI archive: %w", file, err)
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%s has %d images; use an archive of one", file, len(manifest.Manifests))
	}
	only := manifest.Manifests[0]
	switch {
	case only.MediaType.IsIndex():
		return index.ImageIndex(only.Digest)
	case only.MediaType.IsImage():
		return index.Image(only.Digest)
	default:
		return nil, fmt.Errorf("%s has a %s; use an archive of an image", file, only.MediaType)
	}
}

// unpack writes an archive's files below a folder; a Root lets nothing out of it.
func unpack(file, into string) error {
	source, err := os.Open(file)
	if err != nil {
		return err
	}
	defer source.Close()
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer root.Close()
	archive := tar.NewReader(source)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := root.MkdirAll(filepath.Dir(filepath.Clean(header.Name)), 0o755); err != nil {
			return err
		}
		target, err := root.Create(filepath.Clean(header.Name))
		if err != nil {
			return err
		}
		_, err = io.Copy(target, archive)
		if err := errors.Join(err, target.Close()); err != nil {
			return err
		}
	}
}
