// Package store holds the one image store that all faces show: distribution's
// registry on a folder, without a listener of its own.
package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"
)

// Store answers the registry's API from a folder. Whoever may talk to it may do
// everything: faces ask for passwords, the store does not.
type Store struct {
	dir string
	app *handlers.App
	raw rawManifests
}

// Open makes the store, or opens what an earlier one has left in dir.
func Open(dir string) (*Store, error) {
	// Each request would be two lines, and each 404 one of level error.
	logrus.SetLevel(logrus.FatalLevel)
	config, err := filesystem(dir)
	if err != nil {
		return nil, err
	}
	return &Store{dir: dir, app: handlers.NewApp(context.Background(), config)}, nil
}

// filesystem is distribution's configuration for a store in dir.
func filesystem(dir string) (*configuration.Configuration, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the store's folder: %w", err)
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	config := &configuration.Configuration{Storage: configuration.Storage{
		"filesystem":  {"rootdirectory": dir},
		"delete":      {"enabled": true},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
	}}
	config.HTTP.Secret = hex.EncodeToString(secret)
	config.HTTP.RelativeURLs = true
	// An index may name images that are not there: that is one of the failures to show.
	config.Validation.Disabled = true
	return config, nil
}

func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.raw.serve(w, r) {
		return
	}
	s.app.ServeHTTP(w, r)
}

// Close ends what the store does in the background.
func (s *Store) Close() error { return s.app.Shutdown() }

// RemoveRepository removes a repository with its tags and manifests. Blobs stay,
// but no repository leads to them any more.
func (s *Store) RemoveRepository(name string) error {
	named, err := reference.WithName(name)
	if err != nil {
		return fmt.Errorf("invalid repository name %q: %w", name, err)
	}
	raw := s.raw.remove(name)
	at := filepath.Join(s.dir, "docker/registry/v2/repositories", filepath.FromSlash(named.Name()))
	if _, err := os.Stat(at); err != nil {
		if raw {
			return nil
		}
		return fmt.Errorf("no repository %s in the store", name)
	}
	return os.RemoveAll(at)
}

// Corrupt changes the last byte of a blob, so that it no longer has the digest
// it goes by. It holds for every repository with this blob.
func (s *Store) Corrupt(blob digest.Digest) error {
	if err := blob.Validate(); err != nil {
		return fmt.Errorf("invalid digest %q: %w", blob, err)
	}
	hash := blob.Encoded()
	at := filepath.Join(s.dir, "docker/registry/v2/blobs", blob.Algorithm().String(), hash[:2], hash, "data")
	file, err := os.OpenFile(at, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("no blob %s in the store", blob)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return fmt.Errorf("blob %s is empty, and nothing in it can be changed", blob)
	}
	last := make([]byte, 1)
	if _, err := file.ReadAt(last, info.Size()-1); err != nil {
		return err
	}
	last[0] ^= 0xff
	_, err = file.WriteAt(last, info.Size()-1)
	return err
}
