package kubelet

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/flowcontrol"
)

// The kubelet's back-off for image pulls (pkg/kubelet/kubelet.go,
// imageBackOffPeriod and MaxImageBackOff).
const (
	pullBackOff    = 10 * time.Second
	maxPullBackOff = 300 * time.Second
)

// announce records one event about a pull.
type announce func(kind, reason, message string)

// refusal is why an image could not be had: the two fields of a waiting
// container.
type refusal struct {
	reason  string
	message string
}

// imageStore is the images of one node. Pulls take turns, as with the
// kubelet's default serializeImagePulls.
type imageStore struct {
	fates    Fates
	quirks   atomic.Pointer[Quirks] // of the node
	throttle flowcontrol.RateLimiter
	turn     chan struct{}
	backOff  *flowcontrol.Backoff

	mu      sync.Mutex
	present map[string]bool   // by full reference
	causes  map[string]string // last failure, by pod and image
}

func newImageStore(node Quirks, fates Fates, throttle flowcontrol.RateLimiter, present []string) *imageStore {
	store := &imageStore{
		fates:    fates,
		throttle: throttle,
		turn:     make(chan struct{}, 1),
		backOff:  flowcontrol.NewBackOff(pullBackOff, maxPullBackOff),
		present:  make(map[string]bool, len(present)),
		causes:   map[string]string{},
	}
	store.quirks.Store(&node)
	for _, image := range present {
		store.present[normalise(image)] = true
	}
	return store
}

// ensure makes the image present on the node for a pod, as EnsureImageExists
// does. It blocks while other pulls of the node have their turn; when ctx ends
// first, it gives ctx's error.
func (s *imageStore) ensure(ctx context.Context, pod, image string, policy corev1.PullPolicy, say announce) (*refusal, error) {
	if problem := invalidReference(image); problem != "" {
		say(corev1.EventTypeWarning, "InspectFailed", problem)
		return &refusal{"InvalidImageName", problem}, nil
	}
	if policy != corev1.PullAlways && s.has(image) {
		say(corev1.EventTypeNormal, "Pulled",
			fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", image))
		return nil, nil
	}
	if policy == corev1.PullNever {
		problem := fmt.Sprintf("Container image %q is not present with pull policy of Never", image)
		say(corev1.EventTypeWarning, "ErrImageNeverPull", problem)
		return &refusal{"ErrImageNeverPull", problem}, nil
	}
	key := pod + "_" + image
	if s.backOff.IsInBackOffSinceUpdate(key, s.backOff.Clock.Now()) {
		problem := fmt.Sprintf("Back-off pulling image %q", image)
		say(corev1.EventTypeNormal, "BackOff", problem)
		return &refusal{"ImagePullBackOff", problem + ": " + s.cause(key)}, nil
	}
	return s.pull(ctx, key, image, say)
}

func (s *imageStore) pull(ctx context.Context, key, image string, say announce) (*refusal, error) {
	say(corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", image))
	asked := time.Now()
	problem, took, err := s.transfer(ctx, image)
	if err != nil {
		return nil, err
	}
	if problem != "" {
		say(corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %s", image, problem))
		s.backOff.Next(key, s.backOff.Clock.Now())
		s.failed(key, "ErrImagePull: "+problem)
		return &refusal{"ErrImagePull", problem}, nil
	}
	s.arrived(key, image)
	say(corev1.EventTypeNormal, "Pulled", fmt.Sprintf(
		"Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
		image, took.Truncate(time.Millisecond), time.Since(asked).Truncate(time.Millisecond), imageSize(image)))
	return nil, nil
}

// transfer waits for the node's turn and then for as long as the pull lasts.
func (s *imageStore) transfer(ctx context.Context, image string) (problem string, took time.Duration, err error) {
	// The kubelet asks its limiter before it queues the pull, and does not
	// wait for it (pkg/kubelet/images/helpers.go).
	if !s.throttle.TryAccept() {
		return "pull QPS exceeded", 0, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", 0, ctx.Err()
	}
	fate := s.fate(image)
	if fate.Takes > 0 && s.has(image) {
		fate.Takes = quickPull // only the manifest is asked for again
	}
	began := time.Now()
	if err := pause(ctx, fate.Takes); err != nil {
		return "", 0, err
	}
	return fate.Error, time.Since(began), nil
}

func (s *imageStore) fate(image string) Fate { return s.fates(*s.quirks.Load(), image) }

func (s *imageStore) has(image string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present[normalise(image)]
}

func (s *imageStore) arrived(key, image string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.present[normalise(image)] = true
	delete(s.causes, key)
}

func (s *imageStore) failed(key, cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.causes[key] = cause
}

func (s *imageStore) cause(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.causes[key]
}

// forget drops what was remembered for a pod that is gone.
func (s *imageStore) forget(pod string, images []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, image := range images {
		delete(s.causes, pod+"_"+image)
		s.backOff.DeleteEntry(pod + "_" + image)
	}
}

func pause(ctx context.Context, length time.Duration) error {
	if length <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
