package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"quayctl.test/cluster/bed/nodes"
)

const (
	// statusEvery is how long a kubelet that is well leaves its node's status
	// alone: its nodeStatusReportFrequency of 5 minutes, between 200 and 400 s,
	// so that thousands of nodes of one age do not report all at once.
	statusEvery, statusSpread = 200 * time.Second, 200 * time.Second
	// beatsAtOnce bounds the requests in flight.
	beatsAtOnce = 8
)

// Beats are how often a Lease is renewed, and for how long the node lifecycle
// controller waits for it.
type Beats struct {
	every, spread time.Duration
	// Grace is the controller manager's --node-monitor-grace-period.
	Grace time.Duration
}

var (
	// RealBeats are those of real kubelets, which renew every 10 s; upstream's grace
	// is 50 s.
	RealBeats = Beats{every: 8 * time.Second, spread: 4 * time.Second, Grace: 40 * time.Second}
	// SlowBeats spare the API server: real ones are 500 requests a second for 5,000
	// nodes.
	SlowBeats = Beats{every: 60 * time.Second, spread: 40 * time.Second, Grace: 5 * time.Minute}
)

// heart keeps the conditions and the Leases of all simulated nodes, as each
// kubelet does for its own.
type heart struct {
	client kubernetes.Interface
	nodes  cache.Store
	beats  Beats
	due    workqueue.TypedDelayingInterface[beat]
}

// beat is one thing to be looked after: a node's conditions, or its Lease.
type beat struct {
	node  string
	lease bool
}

func newHeart(client kubernetes.Interface, store cache.Store, beats Beats) *heart {
	return &heart{client: client, nodes: store, beats: beats, due: workqueue.NewTypedDelayingQueue[beat]()}
}

// joined begins to renew the Lease of a node. The first one is not urgent: a
// node whose conditions are fresh is taken to be well without.
func (h *heart) joined(node *corev1.Node) {
	if simulated(node) {
		h.due.AddAfter(beat{node.Name, true}, spread("first "+node.Name, h.beats.every))
	}
}

// changed looks at a node's conditions.
func (h *heart) changed(node *corev1.Node) {
	if simulated(node) {
		h.due.Add(beat{node.Name, false})
	}
}

// run beats until ctx ends.
func (h *heart) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range beatsAtOnce {
		workers.Go(func() {
			for {
				next, stopped := h.due.Get()
				if stopped {
					return
				}
				if again := h.beat(ctx, next); again > 0 {
					h.due.AddAfter(next, again)
				}
				h.due.Done(next)
			}
		})
	}
	<-ctx.Done()
	h.due.ShutDown()
	workers.Wait()
}

// beat does what is due and says when to come again; 0 stands for when the
// node changes.
func (h *heart) beat(ctx context.Context, due beat) time.Duration {
	object, there, err := h.nodes.GetByKey(due.node)
	if err != nil || !there || ctx.Err() != nil {
		return 0
	}
	node, ok := object.(*corev1.Node)
	if !ok || !simulated(node) {
		return 0
	}
	again := time.Duration(0)
	if due.lease {
		again, err = h.beats.every+spread(node.Name, h.beats.spread), h.renew(ctx, node)
	} else {
		var patch *corev1.NodeStatus
		patch, again = statusDue(node, time.Now())
		if patch != nil {
			err = h.report(ctx, node, patch)
			again = statusEvery + spread(node.Name, statusSpread)
		}
	}
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		klog.ErrorS(err, "trying a heartbeat again", "node", node.Name, "lease", due.lease)
		return retryWrite
	}
	return again
}

// statusDue says what a kubelet has to write about its node now, if anything,
// and otherwise when to look again. One that is down says so once.
func statusDue(node *corev1.Node, now time.Time) (*corev1.NodeStatus, time.Duration) {
	found, wanted := readiness(node), corev1.ConditionTrue
	if !live(node) {
		wanted = corev1.ConditionFalse
	}
	if found == nil || found.Status != wanted {
		return &corev1.NodeStatus{Conditions: nodes.Conditions(node, now)}, 0
	}
	if !live(node) {
		return nil, 0
	}
	if wait := statusEvery + spread(node.Name, statusSpread) - now.Sub(found.LastHeartbeatTime.Time); wait > 0 {
		return nil, wait
	}
	beats := nodes.Conditions(node, now)
	for i := range beats {
		beats[i].LastTransitionTime = metav1.Time{} // nothing has changed
	}
	return &corev1.NodeStatus{Conditions: beats}, 0
}

func readiness(node *corev1.Node) *corev1.NodeCondition {
	for i := range node.Status.Conditions {
		if node.Status.Conditions[i].Type == corev1.NodeReady {
			return &node.Status.Conditions[i]
		}
	}
	return nil
}

// report writes conditions, and leaves alone what others have written.
func (h *heart) report(ctx context.Context, node *corev1.Node, status *corev1.NodeStatus) error {
	patch, err := statusPatch(status.Conditions)
	if err != nil {
		return err
	}
	_, err = h.client.CoreV1().Nodes().Patch(ctx, node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// statusPatch is made by hand: encoding a condition without a time of
// transition gives a null, which would take away the one that is there.
func statusPatch(conditions []corev1.NodeCondition) ([]byte, error) {
	changes := make([]map[string]any, 0, len(conditions))
	for _, condition := range conditions {
		change := map[string]any{
			"type": condition.Type, "status": condition.Status, "reason": condition.Reason,
			"message": condition.Message, "lastHeartbeatTime": condition.LastHeartbeatTime,
		}
		if !condition.LastTransitionTime.IsZero() {
			change["lastTransitionTime"] = condition.LastTransitionTime
		}
		changes = append(changes, change)
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": changes}})
	if err != nil {
		return nil, fmt.Errorf("encoding conditions: %w", err)
	}
	return patch, nil
}

// renew writes the time into a node's Lease, and makes the Lease first where
// there is none.
func (h *heart) renew(ctx context.Context, node *corev1.Node) error {
	leases := h.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NowMicro()
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"renewTime": now}})
	if err != nil {
		return fmt.Errorf("encoding a renewal: %w", err)
	}
	_, err = leases.Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	seconds := int32(h.beats.Grace.Seconds())
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: node.Name,
			// It goes with its node.
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &node.Name, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
	_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
	return err
}

// spread gives each text its own part of a length, the same in every run.
func spread(text string, most time.Duration) time.Duration {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(text)) // never fails
	return time.Duration(float64(most) * float64(sum.Sum32()) / (1 << 32))
}
