package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"quayctl.test/cluster/bed/bench"
	"quayctl.test/cluster/bed/cluster"
)

// measure runs the benchmark and prints its table.
func measure(args []string) error {
	options := bench.Options{}
	set := flag.NewFlagSet("bed bench", flag.ContinueOnError)
	dir := set.String("dir", "", "directory for the clusters and what the contestants read and write")
	set.StringVar(&options.Controller, "controller", "", "the controller's release binary")
	set.StringVar(&options.Raw, "raw", "", "file for all that was measured, as JSON")
	set.StringVar(&options.Command, "command", "bed bench "+strings.Join(args, " "), "how this was called, for the record")
	nodes := set.String("nodes", "200", "numbers of nodes, separated by commas; each gets a cluster")
	set.IntVar(&options.Images, "images", 3, "images for each node")
	set.IntVar(&options.Rounds, "rounds", 3, "rounds on each cluster")
	modes := set.String("modes", cluster.Stock+","+cluster.Open, "modes of the control plane, separated by commas")
	set.StringVar(&options.Only, "only", "", "ours or kubectl, to run one of them alone")
	set.BoolVar(&options.Realistic, "realistic", false, "node objects as large as a busy cluster's")
	set.DurationVar(&options.Timeout, "timeout", 10*time.Minute, "for each contestant and round")
	if err := parse(set, args); err != nil {
		return err
	}
	var err error
	if options.Dir, err = whole(*dir); err != nil {
		return err
	}
	if options.Binaries, err = binaries(); err != nil {
		return err
	}
	if err := checkBench(&options, *nodes, *modes); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	result, err := bench.Measure(ctx, options)
	if result != nil {
		result.Print(os.Stdout)
	}
	return err
}

func checkBench(options *bench.Options, nodes, modes string) error {
	for _, text := range strings.Split(nodes, ",") {
		count, err := strconv.Atoi(text)
		if err != nil || count < 1 {
			return fmt.Errorf("--nodes is %q; use numbers separated by commas", nodes)
		}
		options.Nodes = append(options.Nodes, count)
	}
	options.Modes = strings.Split(modes, ",")
	for _, mode := range options.Modes {
		if mode != cluster.Stock && mode != cluster.Open {
			return fmt.Errorf("--modes is %q; use %s, %s or both", modes, cluster.Stock, cluster.Open)
		}
	}
	switch {
	case options.Controller == "":
		return fmt.Errorf("no controller given; name its binary with --controller")
	case options.Raw == "":
		return fmt.Errorf("no file for the raw data given; name one with --raw")
	case options.Images < 1 || options.Rounds < 1:
		return fmt.Errorf("--images and --rounds are at least 1")
	case options.Only != "" && options.Only != bench.Ours && options.Only != bench.Kubectl:
		return fmt.Errorf("--only is %q; use %s or %s", options.Only, bench.Ours, bench.Kubectl)
	}
	return nil
}
