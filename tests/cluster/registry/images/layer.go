package images

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// executable is the mode of all files: some are programs, and all may be read.
const executable = 0o755

// randomLayer has one file of bytes that no compression makes smaller.
func randomLayer(seed string, number int, bytes int64) (v1.Layer, error) {
	key := sha256.Sum256([]byte(fmt.Sprintf("%s %d", seed, number)))
	return layer(func(archive *tar.Writer) error {
		header := &tar.Header{Name: fmt.Sprintf("data/layer-%d", number), Mode: executable, Size: bytes, ModTime: created.Time}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := io.CopyN(archive, rand.NewChaCha8(key), bytes)
		return err
	})
}

func fileLayer(files []File) (v1.Layer, error) {
	for _, file := range files {
		if !path.IsAbs(file.Path) || path.Clean(file.Path) != file.Path || file.Path == "/" {
			return nil, fmt.Errorf("path in the image is %q; use one such as /pause", file.Path)
		}
	}
	return layer(func(archive *tar.Writer) error {
		for _, file := range files {
			if err := addFile(archive, file); err != nil {
				return fmt.Errorf("adding %s to the image: %w", file.Source, err)
			}
		}
		return nil
	})
}

func addFile(archive *tar.Writer, file File) error {
	source, err := os.Open(file.Source)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("it is no regular file")
	}
	name := strings.TrimPrefix(file.Path, "/")
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: executable, Size: info.Size(), ModTime: created.Time}); err != nil {
		return err
	}
	_, err = io.Copy(archive, source)
	return err
}

// layer is a gzip of what fill writes. Nothing is compressed in it: random bytes
// would only cost time.
func layer(fill func(*tar.Writer) error) (v1.Layer, error) {
	open := func() (io.ReadCloser, error) {
		reader, writer := io.Pipe()
		go func() {
			archive := tar.NewWriter(writer)
			err := fill(archive)
			if err == nil {
				err = archive.Close()
			}
			writer.CloseWithError(err)
		}()
		return reader, nil
	}
	return tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.NoCompression), tarball.WithMediaType(types.OCILayer))
}
