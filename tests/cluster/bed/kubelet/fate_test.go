package kubelet

import (
	"strings"
	"testing"
	"time"
)

func TestFateByReference(t *testing.T) {
	for _, test := range []struct {
		reference string
		takes     time.Duration
		exits     int32
		runs      time.Duration
		says      string
	}{
		{"nginx", quickPull, 0, 0, ""},
		{"registry.example.com/slow:1", 30 * time.Second, 0, 0, ""},
		{"registry.example.com/slow-3s:1", 3 * time.Second, 0, 0, ""},
		{"registry.example.com/slow-3s-not-found:1", 3 * time.Second, 0, 0, "code = NotFound"},
		{"registry.example.com/crash:1", quickPull, 1, 0, ""},
		{"registry.example.com/runs-7s:1", quickPull, 0, 7 * time.Second, ""},
		{"registry.example.com/denied:1", quickPull, 0, 0, "authorization failed: no basic auth credentials"},
		{"registry.example.com/no-platform:1", quickPull, 0, 0, "no match for platform in manifest sha256:"},
	} {
		got := ByReference(Quirks{Node: "node-001"}, test.reference)
		if got.Takes != test.takes || got.Exits != test.exits || got.Runs != test.runs {
			t.Errorf("%s: got %+v", test.reference, got)
		}
		if (test.says == "") != (got.Error == "") || !strings.Contains(got.Error, test.says) {
			t.Errorf("%s: error is %q, want %q in it", test.reference, got.Error, test.says)
		}
	}
}

func TestPullErrorSpellsTheReferenceOut(t *testing.T) {
	want := `rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/library/not-found:latest": ` +
		`failed to resolve image: docker.io/library/not-found:latest: not found`
	if got := pullError("not-found"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestImageIDKeepsADigestAndInventsOneForATag(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	if got := imageID("registry.example.com/a/b:1@" + digest); got != "registry.example.com/a/b@"+digest {
		t.Errorf("got %s", got)
	}
	invented := imageID("nginx")
	if !strings.HasPrefix(invented, "docker.io/library/nginx@sha256:") || invented != imageID("docker.io/library/nginx:latest") {
		t.Errorf("got %s", invented)
	}
}
