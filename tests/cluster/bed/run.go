package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"quayctl.test/cluster/bed/cluster"
)

// run keeps a cluster in the foreground.
func run(args []string) error {
	var options cluster.Options
	set := startFlags("run", &options)
	tied := set.Bool("until-stdin-closes", false, "end as soon as standard input does, so that the cluster dies with its starter")
	if err := parse(set, args); err != nil {
		return err
	}
	if err := options.Check(); err != nil {
		return err
	}
	var err error
	if options.Binaries, err = binaries(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	if *tied {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	// A reader that is gone must not end us by SIGPIPE: the cluster outlives
	// the program that waited for this one line.
	signal.Ignore(syscall.SIGPIPE)
	return cluster.Run(ctx, options, func(ready cluster.Ready) {
		if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
			fmt.Fprintf(os.Stderr, "bed: announcing the cluster: %v\n", err)
		}
	})
}
