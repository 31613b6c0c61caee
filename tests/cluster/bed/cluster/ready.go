package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"quayctl.test/cluster/bed/nodes"
)

const (
	glance = 50 * time.Millisecond // between looks at one endpoint
	// survey and a part for each node lie between looks at all nodes: reading
	// 5,000 of them four times a second would keep them from getting ready.
	survey        = 200 * time.Millisecond
	surveyPerNode = 500 * time.Microsecond
	// createAtOnce is how many nodes are being created at a time.
	createAtOnce = 16
)

// awaitAPI waits until the API server says it is ready.
func awaitAPI(ctx context.Context, client kubernetes.Interface) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, glance, true, func(ctx context.Context) (bool, error) {
		status := 0
		last = client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status).Error()
		return last == nil && status == http.StatusOK, nil
	})
	if err != nil {
		return fmt.Errorf("the api server is not ready: %w", newest(last, err))
	}
	return nil
}

// createNamespace makes a namespace that takes only pods that ask for nothing.
func createNamespace(ctx context.Context, client kubernetes.Interface, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	return nil
}

// awaitAccount waits for the service account without which no pod is admitted.
func awaitAccount(ctx context.Context, client kubernetes.Interface, namespace string) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, glance, true, func(ctx context.Context) (bool, error) {
		_, last = client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the default service account of namespace %s is missing: %w", namespace, newest(last, err))
	}
	return nil
}

// createNodes makes the nodes as their kubelets register them, with their
// conditions, and with the taints they are to keep. Admission gives
// every new node the not-ready taint; setting all taints here, as the node
// lifecycle controller would do later, saves that controller two requests a
// node, which at its stock limit of 20 a second is 20 s of waiting for 200 nodes,
// and the 10 s it lets pass between two nodes it taints NoExecute
// (--node-eviction-rate).
func createNodes(ctx context.Context, client kubernetes.Interface, wanted []*corev1.Node) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(createAtOnce)
	for _, node := range wanted {
		group.Go(func() error {
			node.Status.Conditions = nodes.Conditions(node, time.Now())
			if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("creating node %s: %w", node.Name, err)
			}
			patch, err := json.Marshal(map[string]any{"spec": map[string]any{"taints": node.Spec.Taints}})
			if err != nil {
				return fmt.Errorf("encoding the taints of %s: %w", node.Name, err)
			}
			_, err = client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
			if err != nil {
				return fmt.Errorf("setting the taints of %s: %w", node.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// awaitNodes waits until every node is as it is meant to stay.
func awaitNodes(ctx context.Context, client kubernetes.Interface, count int) error {
	settled := 0
	pause := survey + time.Duration(count)*surveyPerNode
	err := wait.PollUntilContextCancel(ctx, pause, true, func(ctx context.Context) (bool, error) {
		// Version 0 is answered from the API server's memory.
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return false, nil // the API may be busy; the wait itself is bounded
		}
		settled = 0
		for i := range list.Items {
			if isSettled(&list.Items[i]) {
				settled++
			}
		}
		return settled >= count, nil
	})
	if err != nil {
		return fmt.Errorf("%d of %d nodes are as wanted: %w", settled, count, err)
	}
	return nil
}

// isSettled says whether condition and taints agree with what the node is to
// be. Clients read the taints, and the controllers set them some time after
// the condition.
func isSettled(node *corev1.Node) bool {
	taints := map[string]bool{}
	for _, taint := range node.Spec.Taints {
		taints[taint.Key+":"+string(taint.Effect)] = true
	}
	wantReady := corev1.ConditionTrue
	down := node.Annotations[nodes.DownAnnotation] == "true"
	if down {
		wantReady = corev1.ConditionFalse
	}
	return ready(node) == wantReady &&
		taints[corev1.TaintNodeNotReady+":NoSchedule"] == down &&
		taints[corev1.TaintNodeNotReady+":NoExecute"] == down &&
		taints[corev1.TaintNodeUnschedulable+":NoSchedule"] == node.Spec.Unschedulable
}

func ready(node *corev1.Node) corev1.ConditionStatus {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status
		}
	}
	return corev1.ConditionUnknown
}

func newest(last, otherwise error) error {
	if last != nil {
		return last
	}
	return otherwise
}
