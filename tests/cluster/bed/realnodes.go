package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"quayctl.test/cluster/bed/realnode"
)

// nodeInit is the first process of a real node. The supervisor starts it.
func nodeInit(args []string) error {
	set := flag.NewFlagSet("bed node-init", flag.ContinueOnError)
	name := set.String("name", "", "name of the node")
	dir := set.String("dir", "", "directory of its files")
	disk := set.Int64("disk-bytes", 0, "size of its disk for images")
	if err := parse(set, args); err != nil {
		return err
	}
	if os.Getpid() != 1 {
		return errors.New("node-init is the first process of a node; the bed starts it")
	}
	return realnode.Init(*name, *dir, *disk)
}

// reap removes cgroups as soon as standard input is at its end. The supervisor
// starts it, and it outlives that one.
func reap(names []string) error {
	_, _ = io.Copy(io.Discard, os.Stdin)
	var problems []error
	for _, name := range names {
		if err := realnode.RemoveCgroups(name); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(problems...)
}
