package kubelet

import corev1 "k8s.io/api/core/v1"

// phaseOf derives a pod's phase from its containers, as the kubelet's getPhase
// does. What surprises: one container that waits without ever having run keeps
// the whole pod Pending, even when its neighbours have all finished.
func phaseOf(spec *corev1.PodSpec, inits, mains []corev1.ContainerStatus) corev1.PodPhase {
	for i := range inits {
		ended := inits[i].State.Terminated
		if ended == nil {
			if exit := lastExit(&inits[i]); exit == nil {
				return corev1.PodPending
			}
			continue
		}
		if ended.ExitCode != 0 && !restarts(spec, ended.ExitCode) {
			return corev1.PodFailed
		}
		if ended.ExitCode != 0 {
			return corev1.PodPending
		}
	}
	var running, waiting, stopped, stoppedForGood, succeeded int
	for i := range mains {
		state := &mains[i].State
		switch exit := lastExit(&mains[i]); {
		case state.Running != nil:
			running++
		case exit == nil:
			waiting++
		default:
			stopped++
			if !restarts(spec, exit.ExitCode) {
				stoppedForGood++
			}
			if state.Terminated != nil && exit.ExitCode == 0 {
				succeeded++
			}
		}
	}
	switch {
	case waiting > 0:
		return corev1.PodPending
	case running > 0 || stopped != stoppedForGood:
		return corev1.PodRunning
	case stopped == succeeded:
		return corev1.PodSucceeded
	default:
		return corev1.PodFailed
	}
}

// lastExit is the end of the current or else the previous run of a container.
func lastExit(status *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if status.State.Terminated != nil {
		return status.State.Terminated
	}
	if status.State.Waiting != nil {
		return status.LastTerminationState.Terminated
	}
	return nil
}

// restarts says whether the pod's policy starts a container again after it
// ended with this code.
func restarts(spec *corev1.PodSpec, exitCode int32) bool {
	switch spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return exitCode != 0
	default:
		return true
	}
}

func terminal(phase corev1.PodPhase) bool {
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed
}
