package realnode

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
)

// SandboxImage is what each pod's sandbox runs. The bed brings it: a registry may be
// down, or counted.
const SandboxImage = "sandbox.test/sandbox:1"

// WriteSandboxImage packs a static program as an image that `ctr images import`
// takes: the format of `docker save`.
func WriteSandboxImage(program, archive string) error {
	binary, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("reading the sandboxes' program: %w", err)
	}
	layer, err := pack(map[string][]byte{"sandbox": binary})
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/sandbox"}, "User": "65535:65535"},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return fmt.Errorf("encoding the image's config: %w", err)
	}
	manifest, err := json.Marshal([]map[string]any{
		{"Config": "config.json", "RepoTags": []string{SandboxImage}, "Layers": []string{"layer.tar"}},
	})
	if err != nil {
		return fmt.Errorf("encoding the image's manifest: %w", err)
	}
	image, err := pack(map[string][]byte{"config.json": config, "layer.tar": layer, "manifest.json": manifest})
	if err != nil {
		return err
	}
	if err := os.WriteFile(archive, image, 0o600); err != nil {
		return fmt.Errorf("writing the sandboxes' image: %w", err)
	}
	return nil
}

func pack(files map[string][]byte) ([]byte, error) {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for name, content := range files {
		err := writer.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))})
		if err == nil {
			_, err = writer.Write(content)
		}
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("ending an archive: %w", err)
	}
	return buffer.Bytes(), nil
}
