// Command registry is the registry of the test bed: one store of images that any
// number of faces show, each with its own password, certificate, faults and counts.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

const usage = `registry serves images to the nodes of a test bed, and fails as it is told

  registry serve --address A --control-port P --dir D [flags]

The others call a server by --control http://A:P and print JSON:

  registry face add NAME [flags] | remove NAME | stop NAME | start NAME | list
  registry fault add FACE --effect E [flags] | clear FACE [--id N] | list FACE
  registry counts [FACE] [--reset]
  registry link [--rate BITS | --off]
  registry name set NAME --answer A | clear NAME | list
  registry push REPOSITORY:TAG [flags]
  registry push-archive FILE REPOSITORY:TAG [flags]
  registry tag REPOSITORY:TAG|REPOSITORY@DIGEST TAG
  registry delete REPOSITORY[:TAG|@DIGEST]

"registry COMMAND -h" lists a command's flags.
`

func main() {
	err := dispatch(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "registry: %v\n", err)
		os.Exit(1)
	}
}

func dispatch(args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return errors.New("no command given")
	}
	switch command, rest := args[0], args[1:]; command {
	case "serve":
		return serve(rest)
	case "face":
		return faceCommand(rest)
	case "fault":
		return faultCommand(rest)
	case "counts":
		return countsCommand(rest)
	case "link":
		return linkCommand(rest)
	case "name":
		return nameCommand(rest)
	case "push":
		return push(rest)
	case "push-archive":
		return pushArchive(rest)
	case "tag":
		return tag(rest)
	case "delete":
		return remove(rest)
	case "help", "-h", "--help":
		fmt.Print(usage)
		return nil
	default:
		return fmt.Errorf("unknown command %q; use serve, face, fault, counts, link, name, push, push-archive, tag or delete", command)
	}
}
