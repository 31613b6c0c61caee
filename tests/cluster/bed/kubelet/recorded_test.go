package kubelet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/flowcontrol"
)

// recordings is what real kubelets said in the tests on real nodes, in their order,
// those of a scenario, runtime and template together: waiting states, then events.
const recordings = "../../../vectors/pull_messages.jsonl"

// A simulated node says that it has this.
const newest = "containerd 2.4.2"

// carrier is there on the nodes that were recorded.
const carrier = "carrier.example.com:5000/quayctl-controller:test"

// said is one thing that a kubelet says of a pod.
type said struct {
	Where     string `json:"where"`
	Container string `json:"container"`
	Reason    string `json:"reason"`
	Text      string `json:"text"`
}

func recorded(t *testing.T, scenario, template string) []said {
	t.Helper()
	file, err := os.Open(recordings)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var found []said
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var line struct {
			said
			Scenario, Template, Runtime string
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Scenario == scenario && line.Template == template && line.Runtime == newest {
			found = append(found, line.said)
		}
	}
	if len(found) == 0 {
		t.Fatalf("nothing was recorded of %s with %s", scenario, template)
	}
	return found
}

// notes takes down events.
type notes struct{ all []said }

func (n *notes) Event(object runtime.Object, kind, reason, message string) {
	n.add(said{"event.Pod." + kind, object.(*corev1.ObjectReference).FieldPath, reason, message})
}

func (n *notes) Eventf(object runtime.Object, kind, reason, format string, args ...any) {
	n.Event(object, kind, reason, fmt.Sprintf(format, args...))
}

func (n *notes) AnnotatedEventf(object runtime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	n.Eventf(object, kind, reason, format, args...)
}

func (n *notes) add(what said) {
	what.Text = steady(what.Text)
	if !slices.Contains(n.all, what) {
		n.all = append(n.all, what)
	}
}

var (
	durations = regexp.MustCompile(`in [0-9a-z.µ]+ \([0-9a-z.µ]+ including waiting\)`)
	sizes     = regexp.MustCompile(`Image size: \d+ bytes`)
	digests   = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
)

// steady is a text without what differs from run to run, as in the recordings.
func steady(text string) string {
	text = durations.ReplaceAllString(text, "in 1.5s (1.5s including waiting)")
	text = sizes.ReplaceAllString(text, "Image size: 1000000 bytes")
	return digests.ReplaceAllString(text, "sha256:"+strings.Repeat("1", 64))
}

// volumesOf is a pod as the controller's template image-volume makes it.
func volumesOf(images []string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: "image-pulls", UID: "uid"},
		Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever},
	}
	for at, image := range images {
		name := fmt.Sprintf("image-%d", at)
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			Image: &corev1.ImageVolumeSource{Reference: image, PullPolicy: corev1.PullIfNotPresent},
		}})
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
			Name: name, Image: carrier, ImagePullPolicy: corev1.PullIfNotPresent,
			VolumeMounts: []corev1.VolumeMount{{Name: name, MountPath: "/image", ReadOnly: true}},
		})
	}
	return pod
}

// play takes a pod through its first two syncs, and gives what was said of it.
func play(t *testing.T, throttle flowcontrol.RateLimiter, images ...string) []said {
	t.Helper()
	states, events := &notes{}, &notes{}
	pod := volumesOf(images)
	store := newImageStore(Quirks{Node: "node-001"}, ByReference, throttle, []string{carrier})
	s := syncer{
		pod:      pod,
		machine:  &machine{name: "node-001", images: store, recorder: events},
		state:    newContainers(pod),
		restarts: flowcontrol.NewBackOff(pullBackOff, maxPullBackOff),
	}
	for range 2 {
		if err := s.sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, status := range s.state.mains {
			if waiting := status.State.Waiting; waiting != nil && waiting.Message != "" {
				states.add(said{"containerStatuses.waiting", status.Name, waiting.Reason, waiting.Message})
			}
		}
	}
	return append(states.all, events.all...)
}

func TestItFailsInTheOrderAndWordsOfARealKubelet(t *testing.T) {
	for scenario, image := range map[string]string{
		"not-found-tag": "registry.example.com:5000/not-found/app:2",
		"no-platform":   "registry.example.com:5000/no-platform/app:1",
		"denied-basic":  "registry.example.com:5000/denied/app:1",
	} {
		want := recorded(t, scenario, "image-volume")
		got := play(t, flowcontrol.NewFakeAlwaysRateLimiter(), image)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %s\nwant %s", scenario, show(got), show(want))
		}
	}
}

func show(all []said) string {
	var text strings.Builder
	for _, what := range all {
		fmt.Fprintf(&text, "\n  %s %s %s: %s", what.Where, what.Container, what.Reason, what.Text)
	}
	return text.String()
}

var numbers = regexp.MustCompile(`(app|image)-\d+`)

// anyNumber makes what is said of one of many images equal to what is said of another.
func anyNumber(all []said) []said {
	var found []said
	for _, what := range all {
		what.Container = numbers.ReplaceAllString(what.Container, "$1-N")
		what.Text = strings.TrimPrefix(numbers.ReplaceAllString(what.Text, "$1-N"), "(combined from similar events): ")
		found = append(found, what)
	}
	return found
}

func TestItPullsAndLimitsPullsInTheWordsOfARealKubelet(t *testing.T) {
	var images []string
	for at := range 40 {
		images = append(images, fmt.Sprintf("registry.example.com:5000/limited/app-%d:1", at))
	}
	want := anyNumber(recorded(t, "limited", "image-volume"))
	got := anyNumber(play(t, flowcontrol.NewTokenBucketRateLimiter(5, pullBurst), images...))
	var limited bool
	for _, what := range got {
		limited = limited || strings.Contains(what.Text, "pull QPS exceeded")
		// What comes later is beyond a real kubelet's ration of events with that many images.
		isPull := strings.HasPrefix(what.Where, "containerStatuses") || what.Reason == "Pulling" ||
			strings.HasPrefix(what.Text, "Successfully pulled") || strings.HasPrefix(what.Text, "Failed to pull")
		if !isPull {
			continue
		}
		if !slices.Contains(want, what) {
			t.Errorf("no real kubelet says %s", show([]said{what}))
		}
	}
	if !limited {
		t.Error("no pull was refused by the limit")
	}
}

func TestItFindsWhatIsThereInTheWordsOfARealKubelet(t *testing.T) {
	want := recorded(t, "repeat", "image-volume")
	const image = "registry.example.com:5000/repeat/app:1"
	var present said
	for _, what := range want {
		if what.Reason == "Pulled" && strings.Contains(what.Text, "already present") && what.Container == "" {
			present = what
		}
	}
	events := &notes{}
	store := storeOf(image)
	reference := about(volumesOf([]string{image}), "")
	_, err := store.ensure(t.Context(), "uid", image, corev1.PullIfNotPresent, func(kind, reason, message string) {
		events.Event(reference, kind, reason, message)
	})
	if err != nil || len(events.all) != 1 || events.all[0] != present {
		t.Errorf("got %s, want %s", show(events.all), show([]said{present}))
	}
}
