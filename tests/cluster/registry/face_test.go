package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"quayctl.test/registry/control"
	"quayctl.test/registry/face"
)

func TestPrivateFacesLetInOnlyTheirUser(t *testing.T) {
	s := serving(t)
	s.push("team/app:1.0", "--size", "100kB")
	for _, auth := range []string{"basic", "token"} {
		t.Run(auth, func(t *testing.T) {
			private := s.face(auth, "--auth", auth, "--user", "puller", "--password", "right")
			mustPull(t, private, "team/app:1.0", as("puller", "right"))
			_, err := pull(private, "team/app:1.0", as("puller", "wrong"))
			wantError(t, err, "UNAUTHORIZED")
			_, err = pull(private, "team/app:1.0")
			wantError(t, err, "UNAUTHORIZED")
		})
	}
}

func TestTokensOfOneFaceAreNoneOfAnother(t *testing.T) {
	s := serving(t)
	token := tokenOf(t, s.face("one", "--auth", "token", "--user", "u", "--password", "p"))
	other := s.face("other", "--auth", "token", "--user", "u", "--password", "p")
	request, err := http.NewRequest(http.MethodGet, other.URL+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("status is %d", response.StatusCode)
	}
	if challenge := response.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, `Bearer realm="`+other.URL+`/token"`) {
		t.Errorf("challenge is %s", challenge)
	}
}

func tokenOf(t *testing.T, of face.State) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, of.URL+"/token", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(of.User, of.Password)
	var answer struct{ Token string }
	getJSON(t, request, http.StatusOK, &answer)
	return answer.Token
}

func TestKnownCertificatesAreTrustedAndUnknownOnesAreNot(t *testing.T) {
	s := serving(t)
	s.push("team/app:1.0", "--size", "100kB")
	known := s.face("known", "--tls", "known")
	mustPull(t, known, "team/app:1.0", remote.WithTransport(s.trusting(known)))

	unknown := s.face("unknown", "--tls", "unknown")
	_, err := pull(unknown, "team/app:1.0", remote.WithTransport(s.trusting(known)))
	wantError(t, err, "certificate signed by unknown authority")
	if _, err := os.Stat(filepath.Join(s.hosts, unknown.Host)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("containerd is told of the unknown CA: %v", err)
	}
}

func TestContainerdIsToldOfAFaceAsLongAsItIsThere(t *testing.T) {
	s := serving(t)
	plain, secret := s.face("plain"), s.face("secret", "--tls", "known")
	for host, want := range map[string]string{
		plain.Host: "server = \"http://" + plain.Host + "\"\ncapabilities = [\"push\"]\n\n" +
			"[host.\"http://" + plain.Host + "\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
		secret.Host: "server = \"https://" + secret.Host + "\"\ncapabilities = [\"push\"]\n\n" +
			"[host.\"https://" + secret.Host + "\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = \"ca.crt\"\n",
	} {
		text, err := os.ReadFile(filepath.Join(s.hosts, host, "hosts.toml"))
		if err != nil || string(text) != want {
			t.Errorf("%s: %v\n%s\nnot\n%s", host, err, text, want)
		}
	}
	run[control.Removed](s, "face", "remove", "plain")
	run[control.Removed](s, "face", "remove", "secret")
	left, err := os.ReadDir(s.hosts)
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if _, err := http.Get(plain.URL + "/v2/"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a removed face answers: %v", err)
	}
}

func TestStoppedFaceRefusesCutsAndComesBackAtItsPort(t *testing.T) {
	s := serving(t)
	pushed := s.push("team/app:1.0", "--size", "200kB")
	plain := s.face("plain")
	s.fault("plain", "--effect", "throttle", "--rate", "1000")
	response, err := http.Get(plain.URL + "/v2/team/app/blobs/" + pushed.Images[0].Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()

	if stopped := run[face.State](s, "face", "stop", "plain"); stopped.Serving || stopped.Port != plain.Port {
		t.Errorf("stopped: %+v", stopped)
	}
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("a body went on after the stop")
	}
	if _, err := http.Get(plain.URL + "/v2/"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a stopped face answers: %v", err)
	}
	run[face.State](s, "face", "stop", "plain")

	if started := run[face.State](s, "face", "start", "plain"); !started.Serving || started.Rules != 1 {
		t.Errorf("started: %+v", started)
	}
	run[control.Cleared](s, "fault", "clear", "plain")
	mustPull(t, plain, "team/app:1.0")
}

func TestCacheFetchesEachBlobOnce(t *testing.T) {
	s := serving(t)
	for _, auth := range [][]string{nil, {"--auth", "basic", "--user", "u", "--password", "p"}, {"--auth", "token", "--user", "u", "--password", "p"}} {
		name := "far"
		if auth != nil {
			name += auth[1]
		}
		pushed := s.push("team/"+name+":1.0", "--size", "300kB", "--layers", "3")
		s.face(name, auth...)
		near := s.face("near-"+name, "--cache-of", name)
		mustPull(t, near, "team/"+name+":1.0")
		run[face.State](s, "face", "stop", name)
		// What was fetched is written to the cache beside being sent.
		eventually(t, "the cache has all of "+name, func() bool {
			_, err := pull(near, "team/"+name+"@"+pushed.Digest)
			return err == nil
		})
		wantBlobsOnce(t, pushed, s.counts(name))
	}
	wantWords(t, s.fails("face", "add", "nearer", "--cache-of", "far"), "upstream")
	s.face("secret", "--tls", "known")
	wantWords(t, s.fails("face", "add", "nearer", "--cache-of", "secret"), "would not trust it")
}

func TestFacesThatCannotBeAreRefused(t *testing.T) {
	s := serving(t)
	taken := s.face("plain")
	port := taken.URL[strings.LastIndex(taken.URL, ":")+1:]
	for _, wrong := range []struct{ args, words string }{
		{"add plain", "there is a face plain already"},
		{"add Plain", `name is "Plain"; use a DNS label`},
		{"add ../plain", "use a DNS label"},
		{"add other --port " + port, "address already in use"},
		{"add other --port 70000", "port is 70000"},
		{"add other --auth ldap", `auth is "ldap"; use none, basic or token`},
		{"add other --auth basic", "give a user and a password"},
		{"add other --user u", "auth is none"},
		{"add other --tls mutual", `tls is "mutual"`},
		{"add other --cache-of none", "no face none"},
		{"add", "NAME is missing"},
		{"add one two", `unexpected argument "two"`},
		{"remove other", "no such face"},
		{"stop other", "no such face"},
		{"paint plain", "unknown action"},
	} {
		wantWords(t, s.fails(append([]string{"face"}, strings.Fields(wrong.args)...)...), wrong.words)
	}
	if faces := run[[]face.State](s, "face", "list"); len(faces) != 1 || faces[0] != taken {
		t.Errorf("faces are %+v", faces)
	}
}
