package nodes

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Conditions are what the kubelet of a node says of it, in its own words. One
// that is down has only one thing to say.
func Conditions(node *corev1.Node, now time.Time) []corev1.NodeCondition {
	if node.Annotations[DownAnnotation] == "true" {
		return []corev1.NodeCondition{condition(now, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady",
			"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "+
				"message:Network plugin returns error: cni plugin not initialized")}
	}
	return []corev1.NodeCondition{
		condition(now, corev1.NodeNetworkUnavailable, corev1.ConditionFalse, "RouteCreated", "RouteController created a route"),
		condition(now, corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
		condition(now, corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
		condition(now, corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
		condition(now, corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
	}
}

func condition(now time.Time, is corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
	at := metav1.NewTime(now)
	return corev1.NodeCondition{
		Type: is, Status: status, Reason: reason, Message: message, LastHeartbeatTime: at, LastTransitionTime: at,
	}
}
