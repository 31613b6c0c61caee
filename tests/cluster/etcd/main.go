// Command etcd is etcd's own server. It is wrapped because its go.mod has
// replace lines, which go install refuses, and sits in a module of its own so
// that its requirements and those of Kubernetes do not pull each other.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
