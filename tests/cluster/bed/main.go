// Command bed is the test bed: a real control plane with simulated nodes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

const usage = `bed runs a real Kubernetes control plane with simulated nodes

  bed run    --dir D [flags]      run a cluster until a signal ends it
  bed up     --dir D [flags]      start a cluster in the background, print its kubeconfig
  bed down   --dir D              end it and remove every file it made
  bed status --dir D [-o json]    list its components
  bed signal --dir D --component C --signal KILL|STOP|CONT|TERM
  bed audit  --dir D [--user-agent PREFIX] [--since TIME] [-o json]
                                  count the requests it has answered
  bed bench  --dir D --controller FILE [flags]
                                  measure the controller against kubectl

"bed run -h" lists the flags of run and up.
`

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(0)
		}
		fmt.Fprintf(os.Stderr, "bed: %v\n", err)
		os.Exit(1)
	}
}

func dispatch(args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return errors.New("no command given")
	}
	switch command, rest := args[0], args[1:]; command {
	case "run":
		return run(rest)
	case "up":
		return up(rest)
	case "down":
		return down(rest)
	case "status":
		return status(rest)
	case "signal":
		return signalComponent(rest)
	case "audit":
		return auditLog(rest)
	case "node-init":
		return nodeInit(rest)
	case "reap":
		return reap(rest)
	case "bench":
		return measure(rest)
	case "help", "-h", "--help":
		fmt.Print(usage)
		return nil
	default:
		return fmt.Errorf("unknown command %q; use run, up, down, status, signal, audit or bench", command)
	}
}
