package face

import (
	"fmt"
	"os"
	"path/filepath"
)

// writeHosts tells containerd how to reach a face: dir/HOST:PORT/hosts.toml, as
// its docs/hosts.md says. Nothing is written for a face whose CA is unknown:
// containerd then tries https, and does not trust it.
//
// containerd tries `server` after each [host], also where both are the same, and
// a failure would be seen twice. Left out it would be https. So it may only be
// pushed to. And containerd 1.6 demands a [host].
func writeHosts(dir string, f *Face, ca []byte) error {
	if dir == "" || f.options.TLS == Unknown {
		return nil
	}
	at := filepath.Join(dir, f.Host())
	if err := os.MkdirAll(at, 0o755); err != nil {
		return fmt.Errorf("making containerd's folder of %s: %w", f.Host(), err)
	}
	url := f.options.scheme() + "://" + f.Host()
	text := fmt.Sprintf("server = %q\ncapabilities = [\"push\"]\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", url, url)
	if f.options.TLS == Known {
		text += "  ca = \"ca.crt\"\n"
		if err := os.WriteFile(filepath.Join(at, "ca.crt"), ca, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(at, "hosts.toml"), []byte(text), 0o644)
}

func removeHosts(dir string, f *Face) error {
	if dir == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(dir, f.Host()))
}
