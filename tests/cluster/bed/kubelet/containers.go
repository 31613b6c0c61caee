package kubelet

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// containers is where the containers of one pod stand. Its methods change
// nothing but itself: no clock, no network.
type containers struct {
	pod   *corev1.Pod
	inits []corev1.ContainerStatus
	mains []corev1.ContainerStatus
}

// newContainers takes over what the API already says about the pod, so that a
// restart of the fake kubelet does not run a finished container twice.
func newContainers(pod *corev1.Pod) *containers {
	idle := "ContainerCreating"
	if len(pod.Spec.InitContainers) > 0 {
		idle = "PodInitializing"
	}
	return &containers{
		pod:   pod,
		inits: takeOver(pod.Spec.InitContainers, pod.Status.InitContainerStatuses, idle),
		mains: takeOver(pod.Spec.Containers, pod.Status.ContainerStatuses, idle),
	}
}

func takeOver(specs []corev1.Container, known []corev1.ContainerStatus, idle string) []corev1.ContainerStatus {
	statuses := make([]corev1.ContainerStatus, len(specs))
	for i := range specs {
		statuses[i] = corev1.ContainerStatus{
			Name:         specs[i].Name,
			Image:        specs[i].Image,
			State:        waitingState(idle, ""),
			VolumeMounts: mountStatuses(specs[i].VolumeMounts),
			Started:      ptr.To(false),
		}
		for k := range known {
			if known[k].Name == specs[i].Name && known[k].State.Running == nil {
				statuses[i] = *known[k].DeepCopy()
			}
		}
	}
	return statuses
}

func mountStatuses(mounts []corev1.VolumeMount) []corev1.VolumeMountStatus {
	statuses := make([]corev1.VolumeMountStatus, 0, len(mounts))
	for _, mount := range mounts {
		status := corev1.VolumeMountStatus{Name: mount.Name, MountPath: mount.MountPath, ReadOnly: mount.ReadOnly}
		if mount.ReadOnly {
			status.RecursiveReadOnly = ptr.To(corev1.RecursiveReadOnlyDisabled)
		}
		statuses = append(statuses, status)
	}
	return statuses
}

// slot names one container of a pod: its specification and where it stands.
type slot struct {
	spec   *corev1.Container
	status *corev1.ContainerStatus
	init   bool
	index  int
}

func (s slot) fieldPath() string {
	if s.init {
		return "spec.initContainers{" + s.spec.Name + "}"
	}
	return "spec.containers{" + s.spec.Name + "}"
}

// toStart lists the containers that a sync would start: the next init
// container alone, and once all of them are done every main one that is not
// running and may still run.
func (c *containers) toStart() []slot {
	for i := range c.inits {
		here := slot{&c.pod.Spec.InitContainers[i], &c.inits[i], true, i}
		if here.status.State.Running != nil {
			return nil
		}
		ended := here.status.State.Terminated
		if ended == nil {
			return []slot{here}
		}
		if ended.ExitCode != 0 {
			if restarts(&c.pod.Spec, ended.ExitCode) {
				return []slot{here}
			}
			return nil
		}
	}
	var ready []slot
	for i := range c.mains {
		here := slot{&c.pod.Spec.Containers[i], &c.mains[i], false, i}
		ended := here.status.State.Terminated
		if here.status.State.Waiting != nil || (ended != nil && restarts(&c.pod.Spec, ended.ExitCode)) {
			ready = append(ready, here)
		}
	}
	return ready
}

// refuse leaves a container waiting, with the reason for all to read. One that
// has run before keeps the record of how it ended.
func (s slot) refuse(why refusal) {
	if s.status.State.Terminated != nil {
		s.status.LastTerminationState = s.status.State
	}
	s.status.State = waitingState(why.reason, why.message)
	s.status.Ready = false
	s.status.Started = ptr.To(false)
}

func (s slot) start(id string, now time.Time) {
	if exit := lastExit(s.status); exit != nil {
		s.status.LastTerminationState = corev1.ContainerState{Terminated: exit}
		s.status.RestartCount++
	}
	s.status.Image = normalise(s.spec.Image)
	s.status.ImageID = imageID(s.spec.Image)
	s.status.ContainerID = "containerd://" + id
	s.status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now)}}
	// An init container is ready once it has ended well, never while it runs.
	s.status.Ready = !s.init
	s.status.Started = ptr.To(true)
}

func (s slot) end(code int32, now time.Time) {
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	ended := &corev1.ContainerStateTerminated{
		ExitCode:    code,
		Reason:      reason,
		FinishedAt:  metav1.NewTime(now),
		ContainerID: s.status.ContainerID,
	}
	if running := s.status.State.Running; running != nil {
		ended.StartedAt = running.StartedAt
	}
	s.status.State = corev1.ContainerState{Terminated: ended}
	s.status.Ready = s.init && code == 0
	s.status.Started = ptr.To(false)
}

// terminate ends every container of a pod that is being deleted: the running
// ones are killed, and those that never ran are written off just as the
// kubelet writes them off, which destroys the reason they waited for.
func (c *containers) terminate(now time.Time) {
	begun := c.initialised()
	for i := range c.inits {
		c.killOrLose(slot{&c.pod.Spec.InitContainers[i], &c.inits[i], true, i}, now, false)
	}
	for i := range c.mains {
		c.killOrLose(slot{&c.pod.Spec.Containers[i], &c.mains[i], false, i}, now, begun)
	}
}

// killed is the exit code of SIGKILL as container runtimes report it: 128 + 9.
const killed = 137

func (c *containers) killOrLose(s slot, now time.Time, begun bool) {
	switch {
	case s.status.State.Running != nil:
		s.end(killed, now)
	case s.status.State.Waiting != nil && begun:
		s.status.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: killed,
			Reason:   "ContainerStatusUnknown",
			Message:  "The container could not be located when the pod was terminated",
		}}
	}
}

func (c *containers) initialised() bool {
	for i := range c.inits {
		if ended := c.inits[i].State.Terminated; ended == nil || ended.ExitCode != 0 {
			return false
		}
	}
	return true
}

func waitingState(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}
