package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

// writesAtOnce bounds the requests in flight of all simulated kubelets
// together. Real ones come from as many machines; here they share a processor
// with the API server, and more in flight only adds waiting.
const writesAtOnce = 64

// retryWrite is the pause after a write that failed, for example because the
// API server is being restarted by a test.
const retryWrite = 500 * time.Millisecond

type publisherPool struct {
	client kubernetes.Interface
	slots  chan struct{}
}

func newPublisherPool(client kubernetes.Interface) *publisherPool {
	return &publisherPool{client: client, slots: make(chan struct{}, writesAtOnce)}
}

func (p *publisherPool) forPod(pod *corev1.Pod, at place) *publisher {
	return &publisher{pool: p, pod: pod, known: pod.Status.DeepCopy(), at: at}
}

// publisher writes the status of one pod, and only when it has changed.
type publisher struct {
	pool  *publisherPool
	pod   *corev1.Pod
	known *corev1.PodStatus // what the API holds, as far as we know
	at    place
}

// publish writes where the containers stand and gives the pod's phase. It goes
// on trying until ctx ends; its error means that there is no use in going on.
func (p *publisher) publish(ctx context.Context, state *containers) (corev1.PodPhase, error) {
	status := state.report(p.known, p.at, time.Now())
	if terminal(p.known.Phase) {
		return p.known.Phase, nil // what has ended stays ended
	}
	if equality.Semantic.DeepEqual(p.known, status) {
		return status.Phase, nil
	}
	patch, err := p.patch(status)
	if err != nil {
		klog.ErrorS(err, "cannot build a status patch", "pod", klog.KObj(p.pod))
		return "", err
	}
	err = p.write(ctx, func() error {
		updated, err := p.pool.client.CoreV1().Pods(p.pod.Namespace).Patch(ctx, p.pod.Name,
			types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		if err == nil {
			p.known = &updated.Status
		}
		return err
	})
	return status.Phase, err
}

// patch carries the pod's UID, so that a successor of the same name is left
// alone.
func (p *publisher) patch(status *corev1.PodStatus) ([]byte, error) {
	before, err := json.Marshal(corev1.Pod{Status: *p.known})
	if err != nil {
		return nil, fmt.Errorf("encoding the old status: %w", err)
	}
	after, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: p.pod.UID}, Status: *status})
	if err != nil {
		return nil, fmt.Errorf("encoding the new status: %w", err)
	}
	return strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
}

// remove takes the object away once its containers have ended.
func (p *publisher) remove(ctx context.Context) {
	options := metav1.DeleteOptions{GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(p.pod.UID))}
	_ = p.write(ctx, func() error {
		return p.pool.client.CoreV1().Pods(p.pod.Namespace).Delete(ctx, p.pod.Name, options)
	})
}

func (p *publisher) write(ctx context.Context, request func() error) error {
	for {
		select {
		case p.pool.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		err := request()
		<-p.pool.slots
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
			return err // gone, or another pod of that name
		case apierrors.IsInvalid(err):
			klog.ErrorS(err, "the api server refuses a status", "pod", klog.KObj(p.pod))
			return err
		}
		klog.ErrorS(err, "trying a status write again", "pod", klog.KObj(p.pod))
		if err := pause(ctx, retryWrite); err != nil {
			return err
		}
	}
}
