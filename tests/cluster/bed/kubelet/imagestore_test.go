package kubelet

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/flowcontrol"
)

func storeOf(present ...string) *imageStore {
	return newImageStore(Quirks{Node: "node-001"}, ByReference, flowcontrol.NewFakeAlwaysRateLimiter(), present)
}

// ask pulls and gives the outcome's reason with the events it made.
func ask(t *testing.T, s *imageStore, image string, policy corev1.PullPolicy) (string, string) {
	t.Helper()
	var events []string
	why, err := s.ensure(context.Background(), "uid", image, policy, func(_, reason, _ string) { events = append(events, reason) })
	if err != nil {
		t.Fatalf("pulling %s: %v", image, err)
	}
	reason := ""
	if why != nil {
		reason = why.reason
	}
	return reason, strings.Join(events, " ")
}

func TestPulls(t *testing.T) {
	const always, ifNotPresent, never = corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever
	s := storeOf("docker.io/library/here:latest")
	for _, step := range []struct {
		image  string
		policy corev1.PullPolicy
		reason string
		events string
	}{
		{"here", ifNotPresent, "", "Pulled"},
		{"here", always, "", "Pulling Pulled"},
		{"a:1", ifNotPresent, "", "Pulling Pulled"},
		{"a:1", ifNotPresent, "", "Pulled"},
		{"a:1", never, "", "Pulled"},
		{"b:1", never, "ErrImageNeverPull", "ErrImageNeverPull"},
		{"not-found:1", ifNotPresent, "ErrImagePull", "Pulling Failed"},
		{"not-found:1", ifNotPresent, "ImagePullBackOff", "BackOff"},
		{"UPPER", ifNotPresent, "InvalidImageName", "InspectFailed"},
	} {
		reason, events := ask(t, s, step.image, step.policy)
		if reason != step.reason || events != step.events {
			t.Errorf("%s %s: %q with events %q, want %q with %q", step.image, step.policy, reason, events, step.reason, step.events)
		}
	}
}

func TestBackOffNamesTheCauseAndDeletionForgetsIt(t *testing.T) {
	s := storeOf()
	say := func(_, _, _ string) {}
	ask(t, s, "not-found:1", corev1.PullIfNotPresent)
	why, err := s.ensure(context.Background(), "uid", "not-found:1", corev1.PullIfNotPresent, say)
	want := `Back-off pulling image "not-found:1": ErrImagePull: ` + pullError("not-found:1")
	if err != nil || why == nil || why.message != want {
		t.Errorf("got %+v, %v; want %s", why, err, want)
	}
	s.forget("uid", []string{"not-found:1"})
	if reason, _ := ask(t, s, "not-found:1", corev1.PullIfNotPresent); reason != "ErrImagePull" {
		t.Errorf("after forgetting: %s", reason)
	}
}

func TestACancelledPullGivesTheTurnBack(t *testing.T) {
	s := storeOf()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.ensure(ctx, "uid", "slow:1", corev1.PullIfNotPresent, func(_, _, _ string) {}); err == nil {
		t.Fatal("a cancelled pull succeeded")
	}
	if reason, _ := ask(t, s, "b:1", corev1.PullIfNotPresent); reason != "" {
		t.Errorf("the next pull: %s", reason)
	}
	if s.has("slow:1") {
		t.Error("the cancelled image is present")
	}
}

func TestPullsAboveTheNodesLimitAreRefusedForNow(t *testing.T) {
	s := newImageStore(Quirks{Node: "node-001"}, ByReference, flowcontrol.NewTokenBucketRateLimiter(0.001, 1), nil)
	ask(t, s, "a:1", corev1.PullIfNotPresent)
	why, err := s.ensure(context.Background(), "uid", "b:1", corev1.PullIfNotPresent, func(_, _, _ string) {})
	if err != nil || why == nil || why.message != "pull QPS exceeded" {
		t.Errorf("got %+v, %v", why, err)
	}
}
