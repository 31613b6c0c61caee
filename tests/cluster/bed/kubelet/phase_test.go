package kubelet

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

var (
	creating = corev1.ContainerStatus{State: waitingState("ContainerCreating", "")}
	backOff  = corev1.ContainerStatus{State: waitingState("ImagePullBackOff", "Back-off")}
	up       = corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	good     = ended(0)
	bad      = ended(1)
	looping  = corev1.ContainerStatus{State: waitingState("CrashLoopBackOff", ""), LastTerminationState: bad.State}
)

func ended(code int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: code},
	}}
}

func TestPhase(t *testing.T) {
	const never, onFailure, always = corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure, corev1.RestartPolicyAlways
	for _, test := range []struct {
		name   string
		policy corev1.RestartPolicy
		inits  []corev1.ContainerStatus
		mains  []corev1.ContainerStatus
		want   corev1.PodPhase
	}{
		{"nothing has begun", never, nil, list(creating, creating), corev1.PodPending},
		{"one image fails, the others are done", never, nil, list(good, backOff, good), corev1.PodPending},
		{"one image fails, another runs", never, nil, list(up, backOff), corev1.PodPending},
		{"one runs, one is done", never, nil, list(up, good), corev1.PodRunning},
		{"all done well", never, nil, list(good, good), corev1.PodSucceeded},
		{"all done, one badly", never, nil, list(good, bad), corev1.PodFailed},
		{"bad and to be run again", onFailure, nil, list(good, bad), corev1.PodRunning},
		{"waiting for the next run", onFailure, nil, list(good, looping), corev1.PodRunning},
		{"a service between two runs", always, nil, list(good), corev1.PodRunning},
		{"the init container runs", never, list(up), list(creating), corev1.PodPending},
		{"the init container is done", never, list(good), list(creating), corev1.PodPending},
		{"the init container has failed", never, list(bad), list(creating), corev1.PodFailed},
		{"the init container is tried again", onFailure, list(bad), list(creating), corev1.PodPending},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := phaseOf(&corev1.PodSpec{RestartPolicy: test.policy}, test.inits, test.mains); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func list(statuses ...corev1.ContainerStatus) []corev1.ContainerStatus { return statuses }
