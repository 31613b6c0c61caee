package kubelet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/flowcontrol"
)

const (
	// afterFailure is how soon a pod is looked at again after a pull was tried
	// and failed: kubelets mostly turn ErrImagePull into ImagePullBackOff
	// within a second or two, as the sandbox's start triggers another sync.
	afterFailure = 1500 * time.Millisecond
	// resync is the kubelet's backOffPeriod (pkg/kubelet/kubelet.go), which it
	// stretches by up to a half (workerBackOffPeriodJitterFactor).
	resync = 10 * time.Second
)

// exit is how a running container is going to end.
type exit struct {
	slot slot
	at   time.Time
	code int32
}

// syncer takes one pod through its syncs on one node.
type syncer struct {
	pod      *corev1.Pod
	machine  *machine
	state    *containers
	restarts *flowcontrol.Backoff // of containers that ended with an error
	exits    []exit
	nextSync time.Time
}

// sync starts what can be started now, in the kubelet's order: all image
// volumes first, then containers one after another. It gives an error only
// when ctx has ended.
func (s *syncer) sync(ctx context.Context) error {
	starting := s.state.toStart()
	if len(starting) == 0 {
		return nil
	}
	volumes, tried, err := s.pullVolumes(ctx)
	if err != nil {
		return err
	}
	failed := false
	for _, container := range starting {
		why, err := s.startOne(ctx, container, volumes)
		if err != nil {
			return err
		}
		if why == nil {
			continue
		}
		failed = true
		tried = tried || why.reason == "ErrImagePull"
		container.refuse(*why)
		if container.init {
			break
		}
	}
	s.plan(failed, tried, time.Now())
	return nil
}

// plan sets the time of the next sync.
func (s *syncer) plan(failed, tried bool, now time.Time) {
	switch {
	case !failed:
		s.nextSync = now
	case tried:
		s.nextSync = now.Add(afterFailure)
	default:
		s.nextSync = now.Add(resync + rand.N(resync/2))
	}
}

// pullVolumes tries every image volume of the pod, whether or not a container
// mounts it, and keeps what went wrong by the volume's name.
func (s *syncer) pullVolumes(ctx context.Context) (map[string]refusal, bool, error) {
	refused := map[string]refusal{}
	tried := false
	for i := range s.pod.Spec.Volumes {
		volume := &s.pod.Spec.Volumes[i]
		if volume.Image == nil {
			continue
		}
		why, err := s.machine.images.ensure(ctx, string(s.pod.UID), volume.Image.Reference, volume.Image.PullPolicy, s.say(""))
		if err != nil {
			return nil, false, err
		}
		if why != nil {
			refused[volume.Name] = *why
			tried = tried || why.reason == "ErrImagePull"
		}
	}
	return refused, tried, nil
}

// startOne starts one container, or says why not. Of several failed volumes
// the last one mounted is named, as by the kubelet.
func (s *syncer) startOne(ctx context.Context, container slot, volumes map[string]refusal) (*refusal, error) {
	say := s.say(container.fieldPath())
	if why := s.crashLoop(container); why != nil {
		say(corev1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s",
			container.spec.Name, s.fullName()))
		return why, nil
	}
	var last *refusal
	for _, mount := range container.spec.VolumeMounts {
		if why, bad := volumes[mount.Name]; bad {
			say(corev1.EventTypeWarning, "Failed", "Error: "+why.reason)
			last = &why
		}
	}
	if last != nil {
		return last, nil
	}
	why, err := s.machine.images.ensure(ctx, string(s.pod.UID), container.spec.Image, container.spec.ImagePullPolicy, say)
	if err != nil {
		return nil, err
	}
	if why != nil {
		say(corev1.EventTypeWarning, "Failed", "Error: "+why.reason)
		return why, nil
	}
	s.run(container, say)
	return nil, nil
}

func (s *syncer) run(container slot, say announce) {
	now := time.Now()
	id := hexDigest(fmt.Sprintf("%s/%s/%d", s.pod.UID, container.spec.Name, container.status.RestartCount))
	container.start(id, now)
	say(corev1.EventTypeNormal, "Created", "Container created")
	say(corev1.EventTypeNormal, "Started", "Container started")
	if s.pod.Spec.RestartPolicy == corev1.RestartPolicyAlways && !container.init {
		return // a service: it runs until its pod is deleted
	}
	fate := s.machine.images.fate(container.spec.Image)
	s.exits = append(s.exits, exit{container, now.Add(fate.Runs), fate.Exits})
}

// crashLoop says whether the container ended with an error so recently that it
// has to wait for its next run.
func (s *syncer) crashLoop(container slot) *refusal {
	exited := lastExit(container.status)
	if exited == nil {
		return nil
	}
	key := container.spec.Name
	if s.restarts.IsInBackOffSince(key, exited.FinishedAt.Time) {
		return &refusal{"CrashLoopBackOff", fmt.Sprintf("back-off %v restarting failed container=%s pod=%s",
			s.restarts.Get(key), container.spec.Name, s.fullName())}
	}
	s.restarts.Next(key, exited.FinishedAt.Time)
	return nil
}

// reap ends the containers whose time has come.
func (s *syncer) reap(now time.Time) {
	var left []exit
	for _, e := range s.exits {
		if e.at.After(now) {
			left = append(left, e)
			continue
		}
		e.slot.end(e.code, now)
	}
	s.exits = left
}

// wake is when something is due next; zero if nothing ever is.
func (s *syncer) wake() time.Time {
	var next time.Time
	if len(s.state.toStart()) > 0 {
		next = s.nextSync
		if next.IsZero() {
			next = time.Now()
		}
	}
	for _, e := range s.exits {
		if next.IsZero() || e.at.Before(next) {
			next = e.at
		}
	}
	return next
}

func (s *syncer) say(fieldPath string) announce {
	reference := about(s.pod, fieldPath)
	return func(kind, reason, message string) {
		s.machine.recorder.Event(reference, kind, reason, message)
	}
}

func (s *syncer) fullName() string {
	return fmt.Sprintf("%s_%s(%s)", s.pod.Name, s.pod.Namespace, s.pod.UID)
}
