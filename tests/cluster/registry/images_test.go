package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"quayctl.test/registry/control"
	"quayctl.test/registry/face"
	"quayctl.test/registry/images"
)

func TestImageIsWhatWasAskedFor(t *testing.T) {
	s := serving(t)
	plain := s.face("plain")
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	pushed := s.push("team/app:1.0", "--size", "1MiB", "--layers", "3", "--file", "/bin/pause="+program, "--file", "/etc/note="+program,
		"--entrypoint", "/bin/pause", "--entrypoint", "-v", "--env", "A=b", "--user", "65532", "--also-tag", "latest")
	image := mustPull(t, plain, "team/app:latest")
	digest, err := image.Digest()
	if err != nil || digest.String() != pushed.Digest {
		t.Errorf("pulled %s, %v; pushed %s", digest, err, pushed.Digest)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != "amd64" || config.Config.User != "65532" ||
		!slices.Equal(config.Config.Entrypoint, []string{"/bin/pause", "-v"}) || !slices.Equal(config.Config.Env, []string{"A=b"}) {
		t.Errorf("config is %+v", config)
	}
	files := map[string]int{}
	content := mutate.Extract(image)
	defer content.Close()
	archive := tar.NewReader(content)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Mode != 0o755 {
			t.Errorf("%s has mode %o", header.Name, header.Mode)
		}
		read, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(header.Name, "/")] = len(read)
	}
	random := files["data/layer-0"] + files["data/layer-1"] + files["data/layer-2"]
	if len(files) != 5 || files["bin/pause"] != 9 || files["etc/note"] != 9 || random != 1<<20 {
		t.Errorf("files are %v", files)
	}
	if pushed.Images[0].Bytes < 1<<20 || pushed.Images[0].Bytes > 1<<20+20_000 {
		t.Errorf("%d bytes are sent for 1 MiB of content", pushed.Images[0].Bytes)
	}
}

func TestTheSameSeedIsTheSameImage(t *testing.T) {
	s := serving(t)
	flags := []string{"--size", "100kB", "--layers", "2", "--seed", "one"}
	first := s.push("team/app:1.0", flags...)
	if again := s.push("team/again:1.0", flags...); again.Digest != first.Digest {
		t.Errorf("%s, then %s", first.Digest, again.Digest)
	}
	one, other := s.push("team/app:2.0", "--size", "100kB"), s.push("team/app:3.0", "--size", "100kB")
	if one.Images[0].Layers[0] == other.Images[0].Layers[0] {
		t.Error("images of different names share their content without being told to")
	}
}

func TestIndexesAndForeignPlatforms(t *testing.T) {
	s := serving(t)
	plain := s.face("plain")
	index := s.push("team/multi:1.0", "--size", "100kB", "--platform", "linux/amd64", "--platform", "linux/arm64", "--platform", "linux/arm/v7")
	if index.MediaType != string(types.OCIImageIndex) || len(index.Images) != 3 {
		t.Errorf("pushed %+v", index)
	}
	for at, text := range []string{"linux/amd64", "linux/arm64", "linux/arm/v7"} {
		platform, err := v1.ParsePlatform(text)
		if err != nil {
			t.Fatal(err)
		}
		image := mustPull(t, plain, "team/multi:1.0", remote.WithPlatform(*platform))
		digest, err := image.Digest()
		if err != nil || digest.String() != index.Images[at].Digest || index.Images[at].Platform != text {
			t.Errorf("%s is %s, %v; pushed %+v", text, digest, err, index.Images[at])
		}
	}
	_, err := pull(plain, "team/multi:1.0", remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "riscv64"}))
	wantError(t, err, "no child with platform linux/riscv64")

	// An index whose image is not there.
	run[control.Removed](s, "delete", "team/multi@"+index.Images[1].Digest)
	_, err = pull(plain, "team/multi:1.0", remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "arm64"}))
	wantError(t, err, "MANIFEST_UNKNOWN")
	mustPull(t, plain, "team/multi:1.0", remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))

	foreign := s.push("team/foreign:1.0", "--size", "100kB", "--platform", "linux/arm64")
	config, err := mustPull(t, plain, "team/foreign:1.0").ConfigFile()
	if err != nil || config.Architecture != "arm64" || foreign.MediaType != string(types.OCIManifestSchema1) {
		t.Errorf("%+v, %v, %+v", foreign, err, config)
	}
	if one := s.push("team/one:1.0", "--size", "100kB", "--index"); one.MediaType != string(types.OCIImageIndex) || len(one.Images) != 1 {
		t.Errorf("pushed %+v", one)
	}
}

func TestTagsMoveAndThingsAreDeleted(t *testing.T) {
	s := serving(t)
	plain := s.face("plain")
	old, fresh := s.push("team/app:1.0", "--size", "100kB"), s.push("team/app:2.0", "--size", "100kB")
	run[map[string]string](s, "tag", "team/app:1.0", "stable")
	wantDigest(t, plain, "team/app:stable", old.Digest)
	run[map[string]string](s, "tag", "team/app@"+fresh.Digest, "stable")
	wantDigest(t, plain, "team/app:stable", fresh.Digest)
	moved := s.push("team/app:2.0", "--size", "200kB", "--seed", "another")
	wantDigest(t, plain, "team/app:2.0", moved.Digest)

	run[control.Removed](s, "delete", "team/app:stable")
	wantUnknown(t, plain, "team/app:stable", "MANIFEST_UNKNOWN")
	wantDigest(t, plain, "team/app@"+fresh.Digest, fresh.Digest)
	run[control.Removed](s, "delete", "team/app@"+fresh.Digest)
	wantUnknown(t, plain, "team/app@"+fresh.Digest, "MANIFEST_UNKNOWN")
	run[control.Removed](s, "delete", "team/app")
	wantUnknown(t, plain, "team/app:1.0", "MANIFEST_UNKNOWN")
	for _, gone := range []string{"team/app", "team/app:1.0", "team/app@" + old.Digest} {
		s.fails("delete", gone)
	}
	wantWords(t, s.fails("delete", "team/-app"), "invalid repository name")
}

func wantDigest(t *testing.T, from face.State, reference, digest string) {
	t.Helper()
	got, err := mustPull(t, from, reference).Digest()
	if err != nil || got.String() != digest {
		t.Errorf("%s is %s, %v; not %s", reference, got, err, digest)
	}
}

func wantUnknown(t *testing.T, from face.State, reference, code string) {
	t.Helper()
	_, err := pull(from, reference)
	wantError(t, err, code)
}

func TestPushThroughAFaceNeedsItsPassword(t *testing.T) {
	s := serving(t)
	private := s.face("private", "--auth", "token", "--user", "u", "--password", "p", "--tls", "known")
	pushed := s.push("team/app:1.0", "--size", "100kB", "--face", "private")
	mustPull(t, private, "team/app@"+pushed.Digest, as("u", "p"), remote.WithTransport(s.trusting(private)))
	wantWords(t, s.fails("push", "team/app:2.0", "--face", "private", "--user-name", "u", "--password", "wrong"), "UNAUTHORIZED")
	wantWords(t, s.fails("push", "team/app:2.0", "--face", "none"), `no face "none"`)
}

func TestArchivesOfImagesAndIndexesArePushed(t *testing.T) {
	s := serving(t)
	plain := s.face("plain")
	image, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	index, err := random.Index(1000, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]images.Built{"image": image, "index": index} {
		digest, err := content.Digest()
		if err != nil {
			t.Fatal(err)
		}
		file := archive(t, content)
		pushed := run[images.Pushed](s, "push-archive", file, "team/"+name+":1.0", "--also-tag", "latest")
		if pushed.Digest != digest.String() || pushed.Reference != "team/"+name+":1.0" {
			t.Errorf("pushed %+v, not %s", pushed, digest)
		}
		for _, part := range pushed.Images {
			mustPull(t, plain, "team/"+name+"@"+part.Digest)
		}
		get(t, plain.URL+"/v2/team/"+name+"/tags/list")
	}
	wantWords(t, s.fails("push-archive", archive(t, image, image), "team/two:1.0"), "has 2 images")
	wantWords(t, s.fails("push-archive", os.Args[0], "team/none:1.0"), "unpacking")
}

// Nothing outside of the folder may be written by an archive.
func TestArchivesStayInTheirFolder(t *testing.T) {
	s := serving(t)
	file := filepath.Join(t.TempDir(), "archive.tar")
	var content bytes.Buffer
	writer := tar.NewWriter(&content)
	if err := writer.WriteHeader(&tar.Header{Name: "../outside", Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writer.Close(), os.WriteFile(file, content.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	wantWords(t, s.fails("push-archive", file, "team/app:1.0"), "path escapes from parent")
}

// archive writes an OCI archive as buildah does: a layout in a tar.
func archive(t *testing.T, contents ...images.Built) string {
	t.Helper()
	at := t.TempDir()
	written, err := layout.Write(at, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range contents {
		switch kind := content.(type) {
		case v1.Image:
			err = written.AppendImage(kind)
		case v1.ImageIndex:
			err = written.AppendIndex(kind)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "archive.oci.tar")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	writer := tar.NewWriter(out)
	if err := errors.Join(writer.AddFS(os.DirFS(at)), writer.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestBrokenImages(t *testing.T) {
	s := serving(t)
	plain := s.face("plain")
	pushed := s.push("team/broken:missing", "--size", "100kB", "--layers", "2", "--break", "missing-blob")
	_, err := pull(plain, "team/broken:missing")
	wantError(t, err, "BLOB_UNKNOWN")
	if rows := blobs(s.counts("plain")); rows[len(rows)-1].Status == http.StatusOK && len(rows) != 3 {
		t.Errorf("more than its last layer is missing: %+v", rows)
	}
	run[control.Removed](s, "delete", "team/broken")
	s.push("team/broken:missing", "--size", "100kB", "--layers", "2")
	wantDigest(t, plain, "team/broken:missing", pushed.Digest)

	s.push("team/broken:corrupt", "--size", "100kB", "--break", "corrupt-layer")
	_, err = pull(plain, "team/broken:corrupt")
	wantError(t, err, "verifying sha256 checksum")

	old := s.push("team/broken:old", "--break", "schema-1")
	_, err = pull(plain, "team/broken:old")
	wantError(t, err, string(types.DockerManifestSchema1Signed))
	if text := get(t, plain.URL+"/v2/team/broken/manifests/"+old.Digest); !strings.Contains(text, `"schemaVersion": 1`) {
		t.Errorf("manifest is %s", text)
	}
	s.push("team/broken:old", "--size", "100kB")
	mustPull(t, plain, "team/broken:old")
}

func TestImagesThatCannotBeAreRefused(t *testing.T) {
	s := serving(t)
	for _, wrong := range []struct{ args, words string }{
		{"team/app", "is not a name such as team/app:1.0"},
		{"Team/App:1.0", "is not a name"},
		{"team/app:1.0 --size huge", `--size is "huge"`},
		{"team/app:1.0 --layers 1000", "1000 layers"},
		{"team/app:1.0 --layers 0", "without layers"},
		{"team/app:1.0 --layers 0 --size 1MB", "cannot go into no layer"},
		{"team/app:1.0 --platform linux", `--platform is "linux"`},
		{"team/app:1.0 --file /pause", "use PATH=SOURCE"},
		{"team/app:1.0 --file pause=/dev/null", "path in the image"},
		{"team/app:1.0 --file /pause=/dev/null", "no regular file"},
		{"team/app:1.0 --file /pause=/none", "no such file"},
		{"team/app:1.0 --break all", `--break is "all"`},
	} {
		wantWords(t, s.fails(append([]string{"push"}, strings.Fields(wrong.args)...)...), wrong.words)
	}
}
