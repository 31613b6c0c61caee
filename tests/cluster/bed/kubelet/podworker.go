package kubelet

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/flowcontrol"
)

// podWorker owns one pod from the moment it is bound until it is gone.
type podWorker struct {
	syncer
	publisher *publisher
	stop      context.CancelFunc
	ended     chan struct{}
}

func newPodWorker(pod *corev1.Pod, on *machine, api *publisherPool) *podWorker {
	return &podWorker{
		syncer: syncer{
			pod:      pod,
			machine:  on,
			state:    newContainers(pod),
			restarts: flowcontrol.NewBackOff(pullBackOff, maxPullBackOff),
		},
		publisher: api.forPod(pod, place{hostIP: on.hostIP, podIP: on.nextPodIP()}),
		ended:     make(chan struct{}),
	}
}

// run works until the pod has finished, or ctx ends.
func (w *podWorker) run(ctx context.Context) {
	defer close(w.ended)
	for ctx.Err() == nil {
		w.reap(time.Now())
		phase, err := w.publisher.publish(ctx, w.state)
		if err != nil || terminal(phase) {
			return
		}
		next := w.wake()
		if next.IsZero() {
			return // runs on, or waits for its deletion: see finish
		}
		if wait := time.Until(next); wait > 0 {
			if pause(ctx, wait) != nil {
				return
			}
			continue
		}
		if w.sync(ctx) != nil {
			return
		}
	}
}

// finish ends a pod that is being deleted: its pulls are given up, its
// containers killed, the last status written and the object removed, without
// the grace period, since nothing here needs time to shut down.
func (w *podWorker) finish(ctx context.Context) {
	w.halt()
	w.state.terminate(time.Now())
	if _, err := w.publisher.publish(ctx, w.state); err == nil {
		w.publisher.remove(ctx)
	}
}

// halt stops the work and waits for its end; the pod stays as it is.
func (w *podWorker) halt() {
	w.stop()
	<-w.ended
	w.machine.images.forget(string(w.pod.UID), imagesOf(&w.pod.Spec))
}

func imagesOf(spec *corev1.PodSpec) []string {
	var images []string
	for i := range spec.Volumes {
		if spec.Volumes[i].Image != nil {
			images = append(images, spec.Volumes[i].Image.Reference)
		}
	}
	for i := range spec.InitContainers {
		images = append(images, spec.InitContainers[i].Image)
	}
	for i := range spec.Containers {
		images = append(images, spec.Containers[i].Image)
	}
	return images
}
