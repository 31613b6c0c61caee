// Command sandbox is the one program of the pod sandboxes' image: it waits to be
// ended. A node pulls that image before any other, so the bed brings its own.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
}
