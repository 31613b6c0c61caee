package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
)

// upstreamTimeout is for one answer of a neighbour.
const upstreamTimeout = 10 * time.Second

// Upstream is the registry that a pull-through cache asks.
type Upstream struct {
	URL      string
	User     string
	Password string
}

// Cache is distribution's pull-through cache, with a folder of its own.
type Cache struct {
	http.Handler
	dir string
	app *handlers.App
}

// OpenCache makes an empty cache. The upstream must answer at that moment.
func OpenCache(dir string, upstream Upstream) (cache *Cache, err error) {
	// Distribution panics where it cannot begin; the control API is to say why.
	defer func() {
		if cause := recover(); cause != nil {
			err = errors.Join(fmt.Errorf("making the cache of %s: %v", upstream.URL, cause), os.RemoveAll(dir))
		}
	}()
	// Distribution asks as well, but without end.
	ping := http.Client{Timeout: upstreamTimeout}
	answer, err := ping.Get(upstream.URL + "/v2/")
	if err != nil {
		return nil, fmt.Errorf("asking the cache's upstream: %w", err)
	}
	answer.Body.Close()
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	config, err := filesystem(dir)
	if err != nil {
		return nil, err
	}
	never := time.Duration(0)
	config.Proxy = configuration.Proxy{RemoteURL: upstream.URL, Username: upstream.User, Password: upstream.Password, TTL: &never}
	app := handlers.NewApp(context.Background(), config)
	return &Cache{app, dir, app}, nil
}

// Close ends the cache and removes what it holds.
func (c *Cache) Close() error { return errors.Join(c.app.Shutdown(), os.RemoveAll(c.dir)) }
