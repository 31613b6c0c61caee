package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"

	"quayctl.test/cluster/bed/cluster"
)

// status tells what runs in a directory.
func status(args []string) error {
	set := flag.NewFlagSet("bed status", flag.ContinueOnError)
	dir := set.String("dir", "", "directory of the cluster's files")
	form := set.String("o", "", "json, or nothing for a table")
	if err := parse(set, args); err != nil {
		return err
	}
	full, err := whole(*dir)
	if err != nil {
		return err
	}
	record, running, err := cluster.Status(full)
	if err != nil {
		return err
	}
	switch *form {
	case "json":
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			Running bool `json:"running"`
			cluster.Record
		}{running, record})
	case "":
		return table(*dir, record, running)
	default:
		return fmt.Errorf("-o is %q; use json or leave it out", *form)
	}
}

func table(dir string, record cluster.Record, running bool) error {
	if !running {
		fmt.Printf("no cluster is running in %s\n", dir)
		return nil
	}
	fmt.Printf("server      %s\nkubeconfig  %s\n\n", record.Server, record.Kubeconfig)
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "COMPONENT\tPID\tPORT\tLOG")
	fmt.Fprintf(out, "bed\t%d\t-\t%s\n", record.PID, record.Log)
	for _, part := range record.Components {
		fmt.Fprintf(out, "%s\t%d\t%d\t%s\n", part.Name, part.PID, part.Port, part.Log)
	}
	return out.Flush()
}
