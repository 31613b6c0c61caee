package main

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"

	"quayctl.test/cluster/bed/cluster"
)

// down ends a cluster; it is no error when there is none.
func down(args []string) error {
	set := flag.NewFlagSet("bed down", flag.ContinueOnError)
	dir := set.String("dir", "", "directory of the cluster's files")
	if err := parse(set, args); err != nil {
		return err
	}
	full, err := whole(*dir)
	if err != nil {
		return err
	}
	ended, err := cluster.Down(full)
	if err != nil {
		return err
	}
	if ended {
		fmt.Printf("ended the cluster in %s\n", *dir)
	} else {
		fmt.Printf("no cluster is running in %s\n", *dir)
	}
	return nil
}

func whole(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("no directory given; name one with --dir")
	}
	full, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", dir, err)
	}
	return full, nil
}
