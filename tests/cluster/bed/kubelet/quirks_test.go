package kubelet

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func quirksFrom(name string, annotations map[string]string) Quirks {
	return quirksOf(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}})
}

func TestQuirksAreReadFromAnnotations(t *testing.T) {
	got := quirksFrom("a", map[string]string{
		"quayctl.test/pull-delay": "2s", "quayctl.test/pull-jitter": "500ms", "quayctl.test/not-found": "team/app",
	})
	if want := (Quirks{"a", 2 * time.Second, 500 * time.Millisecond, "team/app"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, wrong := range []string{"", "2", "soon", "-1s"} {
		if got := quirksFrom("a", map[string]string{"quayctl.test/pull-delay": wrong}); got != (Quirks{Node: "a"}) {
			t.Errorf("%q became %+v", wrong, got)
		}
	}
}

func TestANodesDelayIsAddedToEveryPull(t *testing.T) {
	slow := quirksFrom("a", map[string]string{"quayctl.test/pull-delay": "2s"})
	for reference, want := range map[string]time.Duration{
		"nginx": 2*time.Second + quickPull, "slow-3s:1": 5 * time.Second, "not-found": 2*time.Second + quickPull,
	} {
		if got := ByReference(slow, reference).Takes; got != want {
			t.Errorf("%s takes %v, want %v", reference, got, want)
		}
	}
}

func TestJitterIsBoundedDiffersAndRepeats(t *testing.T) {
	annotations := map[string]string{"quayctl.test/pull-delay": "2s", "quayctl.test/pull-jitter": "1s"}
	seen := map[time.Duration]bool{}
	for _, name := range []string{"a", "b", "c", "d"} {
		node := quirksFrom(name, annotations)
		for _, reference := range []string{"x:1", "y:1"} {
			delay := node.delay(reference)
			if delay < 2*time.Second || delay >= 3*time.Second {
				t.Errorf("%s, %s: %v is not within 2s and 3s", name, reference, delay)
			}
			if delay != quirksFrom(name, annotations).delay("docker.io/library/"+reference) {
				t.Errorf("%s, %s: another delay the second time", name, reference)
			}
			seen[delay] = true
		}
	}
	if len(seen) != 8 {
		t.Errorf("only %d different delays of 8", len(seen))
	}
}

func TestAnImageIsMissingOnOneNodeOnly(t *testing.T) {
	lacking := quirksFrom("a", map[string]string{"quayctl.test/not-found": "team/app"})
	const app, web = "registry.example.com/team/app:1", "registry.example.com/team/web:1"
	if got := ByReference(lacking, app).Error; !strings.HasSuffix(got, "failed to resolve image: "+app+": not found") {
		t.Errorf("error is %q", got)
	}
	if got := ByReference(lacking, web).Error + ByReference(Quirks{Node: "b"}, app).Error; got != "" {
		t.Errorf("error is %q, want none", got)
	}
}

func TestQuirksMayChangeWhileANodeIsUp(t *testing.T) {
	s := storeOf()
	s.quirks.Store(&Quirks{Node: "node-001", NotFound: "app"})
	if reason, _ := ask(t, s, "app:1", corev1.PullIfNotPresent); reason != "ErrImagePull" {
		t.Errorf("while it is missing: %q", reason)
	}
	s.quirks.Store(&Quirks{Node: "node-001"})
	s.forget("uid", []string{"app:1"})
	if reason, _ := ask(t, s, "app:1", corev1.PullIfNotPresent); reason != "" {
		t.Errorf("once it is there: %q", reason)
	}
}
