// Command node is what runs on a real node besides its container runtime, in one
// binary: the name it is called by decides whether it is the kubelet or kube-proxy.
// Only tests with real nodes build it.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var components = map[string]func() *cobra.Command{
	"kubelet":    func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kube-proxy": proxy.NewProxyCommand,
}

func main() {
	name := filepath.Base(os.Args[0])
	newCommand, known := components[name]
	if !known {
		fmt.Fprintf(os.Stderr, "node: no component is called %q; call this binary through a link named kubelet or kube-proxy\n", name)
		os.Exit(2)
	}
	// Each command installs the signal handler itself; a second one panics.
	os.Exit(cli.Run(newCommand()))
}
