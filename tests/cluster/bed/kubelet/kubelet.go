package kubelet

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// pullBurst is the kubelet's default registryBurst.
const pullBurst = 10

// Options choose how the kubelets behave.
type Options struct {
	// Fates decides what becomes of each pull.
	Fates Fates
	// PullQPS limits the pulls of each node as the kubelet's registryPullQPS
	// does (its default is 5); 0 leaves them unlimited.
	PullQPS float32
	// Beats say how often nodes are heard of.
	Beats Beats
}

const byNode = "node"

// fleet is all simulated kubelets together: one watch, one worker a pod.
type fleet struct {
	options Options
	client  kubernetes.Interface
	api     *publisherPool
	pods    cache.SharedIndexInformer
	nodes   cache.SharedIndexInformer
	heart   *heart
	podIPs  atomic.Uint32

	mu       sync.Mutex
	machines map[string]*machine // those whose kubelet is up
	workers  map[types.UID]*podWorker
	leaving  map[types.UID]bool // being finished
}

// Run plays the kubelets of all simulated nodes until ctx ends.
func Run(ctx context.Context, client kubernetes.Interface, options Options) error {
	bound := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermNotEqualSelector("spec.nodeName", "").String()
	}))
	all := informers.NewSharedInformerFactory(client, 0)
	f := &fleet{
		options:  options,
		client:   client,
		api:      newPublisherPool(client),
		pods:     bound.Core().V1().Pods().Informer(),
		nodes:    all.Core().V1().Nodes().Informer(),
		machines: map[string]*machine{},
		workers:  map[types.UID]*podWorker{},
		leaving:  map[types.UID]bool{},
	}
	f.heart = newHeart(client, f.nodes.GetStore(), options.Beats)
	if err := f.watch(ctx); err != nil {
		return fmt.Errorf("setting up the watches: %w", err)
	}
	bound.Start(ctx.Done())
	all.Start(ctx.Done())
	f.heart.run(ctx) // until ctx ends
	bound.Shutdown()
	all.Shutdown()
	return nil
}

func (f *fleet) watch(ctx context.Context) error {
	if err := f.pods.AddIndexers(cache.Indexers{byNode: func(object any) ([]string, error) {
		return []string{object.(*corev1.Pod).Spec.NodeName}, nil
	}}); err != nil {
		return err
	}
	if _, err := f.nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			f.nodeSeen(ctx, object.(*corev1.Node))
			f.heart.joined(object.(*corev1.Node))
		},
		UpdateFunc: func(_, object any) { f.nodeSeen(ctx, object.(*corev1.Node)) },
		DeleteFunc: func(object any) { withLast(object, f.nodeGone) },
	}); err != nil {
		return err
	}
	_, err := f.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { f.podSeen(ctx, object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { f.podSeen(ctx, object.(*corev1.Pod)) },
		DeleteFunc: func(object any) { withLast(object, f.podGone) },
	})
	return err
}

// withLast unwraps an object whose deletion the watch itself has missed.
func withLast[T any](object any, do func(T)) {
	if missed, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = missed.Obj
	}
	if typed, ok := object.(T); ok {
		do(typed)
	}
}

// nodeSeen brings a kubelet up or down and, when it comes up, lets it look at
// the pods that are bound to it already. One that is up learns of new quirks.
func (f *fleet) nodeSeen(ctx context.Context, node *corev1.Node) {
	f.heart.changed(node)
	up := simulated(node) && live(node) && len(node.Status.Addresses) > 0
	f.mu.Lock()
	on, wasUp := f.machines[node.Name]
	if up && !wasUp {
		f.machines[node.Name] = newMachine(ctx, f.client, node, f.options, &f.podIPs)
	}
	if up && wasUp {
		quirks := quirksOf(node)
		on.images.quirks.Store(&quirks)
	}
	f.mu.Unlock()
	switch {
	case !up && wasUp:
		f.nodeGone(node)
	case up && !wasUp:
		bound, err := f.pods.GetIndexer().ByIndex(byNode, node.Name)
		if err != nil {
			return
		}
		for _, object := range bound {
			f.podSeen(ctx, object.(*corev1.Pod))
		}
	}
}

// nodeGone leaves the pods of a node as they are: nobody reports on them now.
func (f *fleet) nodeGone(node *corev1.Node) {
	f.mu.Lock()
	delete(f.machines, node.Name)
	var orphans []*podWorker
	for uid, worker := range f.workers {
		if worker.pod.Spec.NodeName == node.Name {
			orphans = append(orphans, worker)
			delete(f.workers, uid)
		}
	}
	f.mu.Unlock()
	for _, worker := range orphans {
		worker.halt()
	}
}

// podSeen is harmless to repeat: what is known already changes nothing.
func (f *fleet) podSeen(ctx context.Context, pod *corev1.Pod) {
	f.mu.Lock()
	defer f.mu.Unlock()
	on, up := f.machines[pod.Spec.NodeName]
	if !up || f.leaving[pod.UID] {
		return
	}
	worker, known := f.workers[pod.UID]
	if !known {
		if terminal(pod.Status.Phase) && pod.DeletionTimestamp == nil {
			return
		}
		worker = newPodWorker(pod, on, f.api)
		f.workers[pod.UID] = worker
		working, stop := context.WithCancel(ctx)
		worker.stop = stop
		if pod.DeletionTimestamp != nil {
			stop()
		}
		go worker.run(working)
	}
	if pod.DeletionTimestamp != nil {
		f.leaving[pod.UID] = true
		go worker.finish(ctx)
	}
}

func (f *fleet) podGone(pod *corev1.Pod) {
	f.mu.Lock()
	worker, known := f.workers[pod.UID]
	delete(f.workers, pod.UID)
	delete(f.leaving, pod.UID)
	f.mu.Unlock()
	if known {
		worker.halt()
	}
}
