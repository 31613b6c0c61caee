package kubelet

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func podOf(inits, mains int) *corev1.Pod {
	pod := &corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever}}
	for i := range inits {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: "i" + string(rune('0'+i)), Image: "init"})
	}
	for i := range mains {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "m" + string(rune('0'+i)), Image: "main"})
	}
	return pod
}

func names(slots []slot) string {
	var all string
	for _, s := range slots {
		all += s.spec.Name + " "
	}
	return all
}

func TestInitContainersComeOneByOneAndFirst(t *testing.T) {
	c := newContainers(podOf(2, 2))
	if got := c.mains[0].State.Waiting.Reason; got != "PodInitializing" {
		t.Errorf("a main container waits for %s", got)
	}
	for _, want := range []string{"i0 ", "i1 "} {
		next := c.toStart()
		if names(next) != want {
			t.Fatalf("to start: %q, want %q", names(next), want)
		}
		next[0].start("id", noon)
		if got := names(c.toStart()); got != "" {
			t.Fatalf("to start beside a running init container: %q", got)
		}
		next[0].end(0, noon)
	}
	if got := names(c.toStart()); got != "m0 m1 " {
		t.Errorf("to start: %q", got)
	}
}

func TestAFailedInitContainerEndsThePod(t *testing.T) {
	c := newContainers(podOf(1, 1))
	next := c.toStart()[0]
	next.start("id", noon)
	next.end(1, noon)
	if got := names(c.toStart()); got != "" {
		t.Errorf("to start: %q", got)
	}
	if got := c.report(&corev1.PodStatus{}, place{}, noon).Phase; got != corev1.PodFailed {
		t.Errorf("phase is %s", got)
	}
}

func TestOneRefusedImageLeavesTheNeighboursAlone(t *testing.T) {
	c := newContainers(podOf(0, 3))
	for i, next := range c.toStart() {
		if i == 1 {
			next.refuse(refusal{"ErrImagePull", "why"})
			continue
		}
		next.start("id", noon)
		next.end(0, noon)
	}
	status := c.report(&corev1.PodStatus{}, place{hostIP: "10.64.0.1", podIP: "10.128.0.1"}, noon)
	waiting := status.ContainerStatuses[1].State.Waiting
	if status.Phase != corev1.PodPending || waiting == nil || waiting.Message != "why" {
		t.Errorf("phase %s, second container %+v", status.Phase, waiting)
	}
	for _, i := range []int{0, 2} {
		if done := status.ContainerStatuses[i].State.Terminated; done == nil || done.ExitCode != 0 {
			t.Errorf("container %d: %+v", i, status.ContainerStatuses[i].State)
		}
	}
	if got := names(c.toStart()); got != "m1 " {
		t.Errorf("to try again: %q", got)
	}
}

func TestDeletionWritesOffWhatNeverRan(t *testing.T) {
	c := newContainers(podOf(0, 3))
	all := c.toStart()
	all[0].start("id", noon)
	all[1].start("id", noon)
	all[1].end(0, noon)
	all[2].refuse(refusal{"ImagePullBackOff", "why"})
	c.terminate(noon)
	if got := c.report(&corev1.PodStatus{}, place{}, noon).Phase; got != corev1.PodFailed {
		t.Errorf("phase is %s", got)
	}
	for i, want := range []struct {
		code   int32
		reason string
	}{{killed, "Error"}, {0, "Completed"}, {killed, "ContainerStatusUnknown"}} {
		if done := c.mains[i].State.Terminated; done == nil || done.ExitCode != want.code || done.Reason != want.reason {
			t.Errorf("container %d: %+v, want %+v", i, c.mains[i].State, want)
		}
	}
}

func TestARestartKeepsWhatHasFinished(t *testing.T) {
	pod := podOf(0, 2)
	c := newContainers(pod)
	first := c.toStart()[0]
	first.start("id", noon)
	first.end(0, noon)
	pod.Status = *c.report(&pod.Status, place{}, noon)
	if got := names(newContainers(pod).toStart()); got != "m1 " {
		t.Errorf("to start after a restart: %q", got)
	}
}

func TestConditionsKeepTheirTimeAndThoseOfOthers(t *testing.T) {
	old := &corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}}}
	c := newContainers(podOf(0, 1))
	before := c.report(old, place{}, noon)
	after := c.report(before, place{}, noon.Add(time.Hour))
	if len(after.Conditions) != 6 || after.Conditions[0].Type != corev1.DisruptionTarget {
		t.Fatalf("conditions: %+v", after.Conditions)
	}
	for i := range after.Conditions {
		if after.Conditions[i].LastTransitionTime != before.Conditions[i].LastTransitionTime {
			t.Errorf("%s has a new time without a change", after.Conditions[i].Type)
		}
	}
}
