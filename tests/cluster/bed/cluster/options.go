package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"quayctl.test/cluster/bed/nodes"
)

// Options say what cluster to start.
type Options struct {
	Dir      string
	Binaries string // directory of etcd and the kube-… programs
	Mode     string
	OnEnd    string
	// RestartAfter is how long a component stays away with EndRestarts.
	RestartAfter time.Duration
	PullQPS      float64
	Nodes        nodes.Plan
	Real         Real
	// Namespace, unless empty, is made beforehand, under Pod Security
	// `restricted`, and is the one that the kubeconfig names.
	Namespace string
}

// The modes: how fast the controllers may talk to the API server.
const (
	Stock = "stock"
	Open  = "open"
)

// What to do when a component ends that nobody asked to end.
const (
	EndFails    = "fail"
	EndIgnored  = "ignore"
	EndRestarts = "restart"
)

// rates are client limits, in requests a second and at once.
type rates struct {
	controllers, controllersBurst int
	scheduler, schedulerBurst     int
}

// Stock is what upstream ships (kube-controller-manager's --kube-api-qps and
// --kube-api-burst, the scheduler's clientConnection); open is what kwokctl
// takes for unlimited.
var modes = map[string]rates{
	Stock: {20, 30, 50, 100},
	Open:  {5000, 10000, 5000, 10000},
}

// Check says what is wrong with the options.
func (o Options) Check() error {
	if o.Dir == "" {
		return fmt.Errorf("no directory given; name one with --dir")
	}
	if _, known := modes[o.Mode]; !known {
		return fmt.Errorf("--mode is %q; use %s or %s", o.Mode, Stock, Open)
	}
	if ends := []string{EndFails, EndIgnored, EndRestarts}; !slices.Contains(ends, o.OnEnd) {
		return fmt.Errorf("--on-component-end is %q; use one of: %s", o.OnEnd, strings.Join(ends, ", "))
	}
	if o.RestartAfter < 0 || (o.RestartAfter > 0 && o.OnEnd != EndRestarts) {
		return fmt.Errorf("--restart-after is %v; use 0 or more, with --on-component-end %s", o.RestartAfter, EndRestarts)
	}
	if o.PullQPS < 0 {
		return fmt.Errorf("--pull-qps is %g; use 0 or more", o.PullQPS)
	}
	if problems := validation.IsDNS1123Label(o.Namespace); o.Namespace != "" && len(problems) > 0 {
		return fmt.Errorf("--namespace is %q: %s", o.Namespace, strings.Join(problems, "; "))
	}
	if err := o.Real.check(); err != nil {
		return err
	}
	return o.Nodes.Check()
}
