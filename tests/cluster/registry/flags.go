package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"quayctl.test/registry/control"
)

// parse takes flags and the named arguments in any order; all of the latter must
// be there.
func parse(set *flag.FlagSet, args []string, wanted ...string) ([]string, error) {
	given, err := parseAny(set, args)
	if err != nil {
		return nil, err
	}
	if len(given) < len(wanted) {
		return nil, fmt.Errorf("%s is missing; see %s -h", wanted[len(given)], set.Name())
	}
	if len(given) > len(wanted) {
		return nil, fmt.Errorf("unexpected argument %q; see %s -h", given[len(wanted)], set.Name())
	}
	return given, nil
}

func parseAny(set *flag.FlagSet, args []string) ([]string, error) {
	var given []string
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			return given, nil
		}
		given = append(given, set.Arg(0))
		args = set.Args()[1:]
	}
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(text string) error {
	*l = append(*l, text)
	return nil
}

// controlled makes the flags of a command that calls a server.
func controlled(name string) (*flag.FlagSet, *string) {
	set := flag.NewFlagSet("registry "+name, flag.ContinueOnError)
	return set, set.String("control", "", "URL of the server's control API, as its ready line says")
}

// call sends a request to the control API and prints the answer.
func call(at, method, path string, body any) error {
	client, err := control.NewClient(at)
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := client.Call(method, path, body, &answer); err != nil {
		return err
	}
	return show(answer)
}

func show(value any) error { return json.NewEncoder(os.Stdout).Encode(value) }
