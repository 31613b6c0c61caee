package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"quayctl.test/registry/counts"
	"quayctl.test/registry/face"
	"quayctl.test/registry/fault"
	"quayctl.test/registry/images"
)

// asMain makes the test's own binary be the program.
const asMain = "REGISTRY_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func program(args ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], args...)
	command.Env = append(os.Environ(), asMain+"=1")
	return command
}

// server is a `registry serve` of its own for a test.
type server struct {
	t          *testing.T
	control    string
	dns        string
	dir, hosts string
}

func serving(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), hosts: t.TempDir()}
	command := program("serve", "--dir", s.dir, "--hosts-dir", s.hosts, "--dns-port", "0", "--interface", "lo")
	var said bytes.Buffer
	command.Stderr = &said
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil || said.Len() > 0 {
			t.Errorf("serve ended with %v and said %q", err, said.String())
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("no ready line: %v", err)
	}
	var is ready
	if err := json.Unmarshal(line, &is); err != nil || !is.Ready {
		t.Fatalf("ready line is %s", line)
	}
	s.control = is.Control
	return s
}

// run runs a client's command and decodes what it prints.
func run[T any](s *server, args ...string) T {
	s.t.Helper()
	var answer T
	command := program(append(args, "--control", s.control)...)
	var said bytes.Buffer
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		s.t.Fatalf("registry %s: %v: %s", strings.Join(args, " "), err, said.String())
	}
	decoder := json.NewDecoder(bytes.NewReader(out))
	if err := decoder.Decode(&answer); err != nil {
		s.t.Fatalf("registry %s printed %q: %v", strings.Join(args, " "), out, err)
	}
	return answer
}

// fails runs a command that is to exit with 1, and returns what it said.
func (s *server) fails(args ...string) string {
	s.t.Helper()
	command := program(append(args, "--control", s.control)...)
	var said, out bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	err := command.Run()
	if command.ProcessState.ExitCode() != 1 || out.Len() > 0 {
		s.t.Fatalf("registry %s: %v, printed %q, not exit code 1 and nothing", strings.Join(args, " "), err, out.String())
	}
	return said.String()
}

func (s *server) face(name string, flags ...string) face.State {
	s.t.Helper()
	return run[face.State](s, append([]string{"face", "add", name}, flags...)...)
}

func (s *server) push(reference string, flags ...string) images.Pushed {
	s.t.Helper()
	return run[images.Pushed](s, append([]string{"push", reference}, flags...)...)
}

func (s *server) fault(face string, flags ...string) fault.Rule {
	s.t.Helper()
	return run[fault.Rule](s, append([]string{"fault", "add", face}, flags...)...)
}

func (s *server) counts(face string, flags ...string) counts.Counts {
	s.t.Helper()
	return run[map[string]counts.Counts](s, append([]string{"counts", face}, flags...)...)[face]
}

// trusting is the CA that a face's hosts.toml has containerd trust.
func (s *server) trusting(of face.State) http.RoundTripper {
	s.t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.hosts, of.Host, "ca.crt"))
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		s.t.Fatalf("no certificate in %s", pem)
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
}

// pull pulls every byte of an image, without a second try, and checks its digests.
func pull(from face.State, reference string, options ...remote.Option) (v1.Image, error) {
	parsed, err := name.ParseReference(strings.SplitN(from.URL, "://", 2)[1]+"/"+reference, name.StrictValidation)
	if err != nil {
		return nil, err
	}
	never := func(error) bool { return false }
	options = append([]remote.Option{remote.WithRetryPredicate(never), remote.WithRetryStatusCodes()}, options...)
	image, err := remote.Image(parsed, options...)
	if err != nil {
		return nil, err
	}
	if _, err := image.RawConfigFile(); err != nil {
		return nil, err
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	for _, layer := range layers {
		if err := readLayer(layer); err != nil {
			return nil, err
		}
	}
	return image, nil
}

func readLayer(layer v1.Layer) error {
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(io.Discard, content)
	return err
}

func mustPull(t *testing.T, from face.State, reference string, options ...remote.Option) v1.Image {
	t.Helper()
	image, err := pull(from, reference, options...)
	if err != nil {
		t.Fatalf("pulling %s of %s: %v", reference, from.Name, err)
	}
	return image
}

func as(user, password string) remote.Option {
	return remote.WithAuth(&authn.Basic{Username: user, Password: password})
}

// wantError checks that an error says what it is about.
func wantError(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("error is %v, and does not say %q", err, words)
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
