package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"quayctl.test/cluster/bed/audit"
	"quayctl.test/cluster/bed/cluster"
)

// auditLog counts the requests a cluster has answered.
func auditLog(args []string) error {
	set := flag.NewFlagSet("bed audit", flag.ContinueOnError)
	dir := set.String("dir", "", "directory of the cluster's files")
	agent := set.String("user-agent", "", "count only clients whose user agent starts so")
	since := set.String("since", "", "count only requests received at this time or later, as 2026-11-25T12:00:00Z")
	form := set.String("o", "", "json, or nothing for a table")
	if err := parse(set, args); err != nil {
		return err
	}
	if *form != "" && *form != "json" {
		return fmt.Errorf("-o is %q; use json or leave it out", *form)
	}
	filter := audit.Filter{UserAgent: *agent}
	if *since != "" {
		var err error
		if filter.Since, err = time.Parse(time.RFC3339, *since); err != nil {
			return fmt.Errorf("--since is %q; use a time such as 2026-11-25T12:00:00Z", *since)
		}
	}
	full, err := whole(*dir)
	if err != nil {
		return err
	}
	log, err := cluster.OpenAuditLog(full)
	if err != nil {
		return err
	}
	defer log.Close()
	counts, err := audit.Count(log, filter)
	if err != nil {
		return err
	}
	if *form == "json" {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(counts)
	}
	return auditTable(counts)
}

func auditTable(counts audit.Counts) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "USER AGENT\tVERB\tRESOURCE\tCODE\tREQUESTS")
	for _, row := range counts.Rows {
		agent := row.UserAgent
		if agent == "" {
			agent = "-"
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%d\t%d\n", agent, row.Verb, row.Resource, row.Code, row.Count)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Printf("\n%d requests", counts.Requests)
	if counts.Unreadable > 0 {
		fmt.Printf(", %d lines cannot be read", counts.Unreadable)
	}
	fmt.Println()
	return nil
}
