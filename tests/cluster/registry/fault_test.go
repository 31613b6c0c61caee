package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"quayctl.test/registry/control"
	"quayctl.test/registry/fault"
)

func TestStatusIsAnsweredAsOftenAsAskedFor(t *testing.T) {
	s := serving(t)
	s.push("team/app:1.0", "--size", "100kB")
	plain := s.face("plain")
	for status, code := range map[string]string{
		"401": "UNAUTHORIZED", "403": "DENIED", "404": "NOT_FOUND", "429": "TOOMANYREQUESTS", "500": "UNKNOWN", "503": "UNKNOWN",
	} {
		s.fault("plain", "--path", "/manifests/1.0$", "--effect", "status", "--status", status, "--retry-after", "7", "--times", "2")
		for range 2 {
			response, err := http.Get(plain.URL + "/v2/team/app/manifests/1.0")
			if err != nil {
				t.Fatal(err)
			}
			var body struct {
				Errors []struct{ Code, Message string }
			}
			err = json.NewDecoder(response.Body).Decode(&body)
			response.Body.Close()
			if err != nil || len(body.Errors) != 1 || body.Errors[0].Code != code {
				t.Errorf("%s: body is %+v, %v", status, body, err)
			}
			if !strings.HasPrefix(response.Status, status) || response.Header.Get("Retry-After") != "7" {
				t.Errorf("%s: answered %s, %v", status, response.Status, response.Header)
			}
			if asked := response.Header.Get("WWW-Authenticate"); (asked != "") != (status == "401") {
				t.Errorf("%s: asks for %q", status, asked)
			}
		}
		mustPull(t, plain, "team/app:1.0")
		run[control.Cleared](s, "fault", "clear", "plain")
	}
}

func TestRuleHoldsForItsPathMethodAndFace(t *testing.T) {
	s := serving(t)
	s.push("team/app:1.0", "--size", "100kB")
	s.push("team/other:1.0", "--size", "100kB")
	plain, well := s.face("plain"), s.face("well")
	s.fault("plain", "--path", "^/v2/team/app/blobs/", "--method", "GET", "--effect", "status", "--status", "503")
	_, err := pull(plain, "team/app:1.0")
	wantError(t, err, "Service Unavailable")
	mustPull(t, plain, "team/other:1.0")
	mustPull(t, well, "team/app:1.0")

	rules := run[[]fault.Rule](s, "fault", "list", "plain")
	if len(rules) != 1 || rules[0].Used != 1 {
		t.Errorf("rules are %+v", rules)
	}
	run[control.Cleared](s, "fault", "clear", "plain", "--id", "1")
	mustPull(t, plain, "team/app:1.0")
	wantWords(t, s.fails("fault", "clear", "plain", "--id", "1"), "no rule 1")
}

// Otherwise a client's first request, without its password, would use a rule up.
func TestFaultsCountOnlyWhoMayComeIn(t *testing.T) {
	s := serving(t)
	s.push("team/app:1.0", "--size", "100kB")
	for _, auth := range []string{"basic", "token"} {
		private := s.face(auth, "--auth", auth, "--user", "u", "--password", "p")
		s.fault(auth, "--path", "/manifests/", "--effect", "status", "--status", "429", "--times", "1")
		_, err := pull(private, "team/app:1.0")
		wantError(t, err, "UNAUTHORIZED")
		_, err = pull(private, "team/app:1.0", as("u", "p"))
		wantError(t, err, "TOOMANYREQUESTS")
		mustPull(t, private, "team/app:1.0", as("u", "p"))
	}
	private := s.face("tokens-fail", "--auth", "token", "--user", "u", "--password", "p")
	s.fault("tokens-fail", "--path", "^/token$", "--effect", "status", "--status", "503", "--times", "1")
	_, err := pull(private, "team/app:1.0", as("u", "p"))
	wantError(t, err, "Service Unavailable")
	mustPull(t, private, "team/app:1.0", as("u", "p"))
}

func TestDelayDelays(t *testing.T) {
	s := serving(t)
	plain := s.face("plain")
	s.fault("plain", "--path", "^/v2/$", "--effect", "delay", "--delay", "300ms")
	s.fault("plain", "--path", "^/v2/$", "--effect", "delay", "--delay", "200ms")
	if took := timed(func() { get(t, plain.URL+"/v2/") }); took < 500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

func TestThrottleIsForEachOrSharedByAll(t *testing.T) {
	s := serving(t)
	pushed := s.push("team/app:1.0", "--size", "200kB")
	plain := s.face("plain")
	at := plain.URL + "/v2/team/app/blobs/" + pushed.Images[0].Layers[0]
	both := func() {
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { get(t, at) })
		}
		all.Wait()
	}
	s.fault("plain", "--path", "/blobs/", "--effect", "throttle", "--rate", "200000")
	each := timed(both)
	run[control.Cleared](s, "fault", "clear", "plain")
	s.fault("plain", "--path", "/blobs/", "--effect", "throttle", "--rate", "200000", "--per", "face")
	shared := timed(both)
	if each < 990*time.Millisecond || shared < 1990*time.Millisecond {
		t.Errorf("two times 200 kB took %s at 200 kB/s each, and %s at 200 kB/s for both", each, shared)
	}
	// With a rate of its own neither waits for the other.
	if each > shared {
		t.Errorf("a rate for each took %s, one for both %s", each, shared)
	}
}

func TestResetComesAfterExactlySoManyBytes(t *testing.T) {
	s := serving(t)
	pushed := s.push("team/app:1.0", "--size", "2MB")
	blob := "/v2/team/app/blobs/" + pushed.Images[0].Layers[0]
	plain, secret := s.face("plain"), s.face("secret", "--tls", "known")
	for _, reset := range []struct {
		face      string
		url       string
		transport http.RoundTripper
	}{
		{"plain", plain.URL, http.DefaultTransport},
		{"secret", secret.URL, s.trusting(secret)},
	} {
		s.fault(reset.face, "--path", "/blobs/", "--effect", "reset", "--after", "1234567", "--times", "1")
		client := http.Client{Transport: reset.transport}
		response, err := client.Get(reset.url + blob)
		if err != nil {
			t.Fatal(err)
		}
		bytes, err := io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if bytes != 1234567 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %d bytes, then %v", reset.face, bytes, err)
		}
		if rows := blobs(s.counts(reset.face)); len(rows) != 1 || rows[0].Bytes != 1234567 {
			t.Errorf("%s: counted %+v", reset.face, rows)
		}
	}
	mustPull(t, plain, "team/app:1.0")
}

func TestResetOfAShortOrEmptyBody(t *testing.T) {
	s := serving(t)
	plain := s.face("plain")
	for _, after := range []string{"0", "1000000"} {
		s.fault("plain", "--effect", "reset", "--after", after)
		response, err := http.Get(plain.URL + "/v2/")
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		// The short body may have come whole before the reset.
		if after == "0" && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after %s: %v", after, err)
		}
		run[control.Cleared](s, "fault", "clear", "plain")
	}
}

func TestHangingRequestsAreCutWhenTheirRuleIsCleared(t *testing.T) {
	s := serving(t)
	plain := s.face("plain")
	s.fault("plain", "--effect", "hang")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, plain.URL+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.DefaultClient.Do(request); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request that hangs ended with %v", err)
	}
	eventually(t, "the server has noticed that nobody waits", func() bool { return s.counts("plain").Active == 0 })

	ended := make(chan error, 1)
	go func() {
		_, err := http.Get(plain.URL + "/v2/")
		ended <- err
	}()
	eventually(t, "a request hangs", func() bool { return s.counts("plain").Active == 1 })
	run[control.Cleared](s, "fault", "clear", "plain")
	select {
	case err := <-ended:
		if !errors.Is(err, io.EOF) {
			t.Errorf("what hung ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("what hung goes on after its rule is cleared")
	}
	get(t, plain.URL+"/v2/")
}

func TestBodiesThatAreNotWhatTheyShouldBe(t *testing.T) {
	s := serving(t)
	pushed := s.push("team/app:1.0", "--size", "100kB", "--layers", "1")
	plain := s.face("plain")
	for _, wrong := range []struct{ effect, path, words string }{
		{"wrong", "/blobs/", "verifying sha256 checksum"},
		{"garbage", "/blobs/", "verifying sha256 checksum"},
		{"wrong", "/manifests/", "does not match requested digest"},
		{"garbage", "/manifests/", "does not match requested digest"},
	} {
		s.fault("plain", "--path", wrong.path, "--effect", wrong.effect, "--times", "1")
		_, err := pull(plain, "team/app@"+pushed.Digest)
		wantError(t, err, wrong.words)
		mustPull(t, plain, "team/app:1.0")
	}
	s.fault("plain", "--path", "/manifests/", "--effect", "garbage", "--times", "1")
	if text := get(t, plain.URL+"/v2/team/app/manifests/1.0"); !strings.HasPrefix(text, "no image. no image. ") {
		t.Errorf("garbage is %q", text)
	}
}

func TestRulesThatCannotBeAreRefused(t *testing.T) {
	s := serving(t)
	s.face("plain")
	for _, wrong := range []struct{ args, words string }{
		{"", `effect is ""`},
		{"--effect explode", `effect is "explode"`},
		{"--effect status", "status is 0"},
		{"--effect status --status 200", "use one of 400 to 599"},
		{"--effect delay", "delay_ms is 0"},
		{"--effect throttle", "bytes_per_second is 0"},
		{"--effect throttle --rate 1 --per node", `per is "node"`},
		{"--effect reset --after -1", "after_bytes is -1"},
		{"--effect hang --path (", "not a regular expression"},
		{"--effect hang --times -1", "times is -1"},
	} {
		wantWords(t, s.fails(append([]string{"fault", "add", "plain"}, strings.Fields(wrong.args)...)...), wrong.words)
	}
	wantWords(t, s.fails("fault", "add", "none", "--effect", "hang"), "no such face")
	if rules := run[[]fault.Rule](s, "fault", "list", "plain"); len(rules) != 0 {
		t.Errorf("rules are %+v", rules)
	}
}

func timed(work func()) time.Duration {
	began := time.Now()
	work()
	return time.Since(began)
}

// get reads what must be there.
func get(t *testing.T, at string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, at, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	request.Header.Set("Accept", string(types.OCIManifestSchema1))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%s answered %s, %v", at, response.Status, err)
	}
	return string(text)
}
