package main

import (
	"flag"

	"quayctl.test/cluster/bed/cluster"
)

// signalComponent sends a signal to one component, for tests of what clients
// do when it is gone or hangs.
func signalComponent(args []string) error {
	set := flag.NewFlagSet("bed signal", flag.ContinueOnError)
	dir := set.String("dir", "", "directory of the cluster's files")
	component := set.String("component", "", "a component's name, as bed status lists it")
	signal := set.String("signal", "", "KILL, TERM, STOP or CONT")
	if err := parse(set, args); err != nil {
		return err
	}
	full, err := whole(*dir)
	if err != nil {
		return err
	}
	return cluster.Signal(full, *component, *signal)
}
