package kubelet

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// place is where a pod runs, as far as its status tells.
type place struct {
	hostIP string
	podIP  string
}

// report writes down where the containers stand, on top of what the API holds
// already: fields and conditions of others stay as they are.
func (c *containers) report(old *corev1.PodStatus, at place, now time.Time) *corev1.PodStatus {
	status := old.DeepCopy()
	status.Phase = phaseOf(&c.pod.Spec, c.inits, c.mains)
	status.InitContainerStatuses = copies(c.inits)
	status.ContainerStatuses = copies(c.mains)
	status.ObservedGeneration = c.pod.Generation
	if status.StartTime == nil {
		status.StartTime = &metav1.Time{Time: now}
	}
	status.HostIP, status.HostIPs = at.hostIP, []corev1.HostIP{{IP: at.hostIP}}
	if status.PodIP == "" {
		podIP := at.podIP
		if c.pod.Spec.HostNetwork {
			podIP = at.hostIP
		}
		status.PodIP, status.PodIPs = podIP, []corev1.PodIP{{IP: podIP}}
	}
	for _, condition := range c.conditions(status.Phase) {
		setCondition(status, condition, c.pod.Generation, now)
	}
	return status
}

func copies(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	all := make([]corev1.ContainerStatus, 0, len(statuses))
	for i := range statuses {
		all = append(all, *statuses[i].DeepCopy())
	}
	return all
}

// conditions are the five the kubelet owns (pkg/kubelet/status/generate.go). It
// says PodScheduled of pods the scheduler has never seen, too.
func (c *containers) conditions(phase corev1.PodPhase) []corev1.PodCondition {
	sandbox := corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue}
	if terminal(phase) {
		sandbox.Status = corev1.ConditionFalse
	}
	scheduled := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}
	ready := c.readiness(phase)
	containersReady := ready
	ready.Type, containersReady.Type = corev1.PodReady, corev1.ContainersReady
	return []corev1.PodCondition{sandbox, c.initialisation(phase), ready, containersReady, scheduled}
}

func (c *containers) initialisation(phase corev1.PodPhase) corev1.PodCondition {
	condition := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if phase == corev1.PodSucceeded {
		condition.Reason = "PodCompleted"
		return condition
	}
	var incomplete []string
	for i := range c.inits {
		if ended := c.inits[i].State.Terminated; ended == nil || ended.ExitCode != 0 {
			incomplete = append(incomplete, c.inits[i].Name)
		}
	}
	if len(incomplete) > 0 {
		condition.Status = corev1.ConditionFalse
		condition.Reason = "ContainersNotInitialized"
		condition.Message = "containers with incomplete status: [" + strings.Join(incomplete, " ") + "]"
	}
	return condition
}

func (c *containers) readiness(phase corev1.PodPhase) corev1.PodCondition {
	switch phase {
	case corev1.PodSucceeded:
		return corev1.PodCondition{Status: corev1.ConditionFalse, Reason: "PodCompleted"}
	case corev1.PodFailed:
		return corev1.PodCondition{Status: corev1.ConditionFalse, Reason: "PodFailed"}
	}
	var unready []string
	for i := range c.mains {
		if !c.mains[i].Ready {
			unready = append(unready, c.mains[i].Name)
		}
	}
	if len(unready) == 0 {
		return corev1.PodCondition{Status: corev1.ConditionTrue}
	}
	return corev1.PodCondition{
		Status:  corev1.ConditionFalse,
		Reason:  "ContainersNotReady",
		Message: "containers with unready status: [" + strings.Join(unready, " ") + "]",
	}
}

func setCondition(status *corev1.PodStatus, condition corev1.PodCondition, generation int64, now time.Time) {
	condition.ObservedGeneration = generation
	condition.LastTransitionTime = metav1.NewTime(now)
	for i := range status.Conditions {
		known := &status.Conditions[i]
		if known.Type != condition.Type {
			continue
		}
		if known.Status == condition.Status {
			condition.LastTransitionTime = known.LastTransitionTime
		}
		*known = condition
		return
	}
	status.Conditions = append(status.Conditions, condition)
}
