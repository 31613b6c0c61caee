// Command kubectl is kubectl, for those who look around in a cluster of the
// bed. It is a program of its own because the demo does without it.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
)

func main() {
	os.Exit(cli.Run(kubectl.NewDefaultKubectlCommand()))
}
