package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"quayctl.test/registry/control"
	"quayctl.test/registry/face"
	"quayctl.test/registry/fault"
	"quayctl.test/registry/names"
)

// action is the first word after a command that has several.
func action(command string, args []string, known string) (string, []string, error) {
	if len(args) == 0 {
		return "", nil, fmt.Errorf("%s what? use %s", command, known)
	}
	return args[0], args[1:], nil
}

func faceCommand(args []string) error {
	const known = "add, remove, stop, start or list"
	action, rest, err := action("face", args, known)
	if err != nil {
		return err
	}
	set, at := controlled("face " + action)
	switch action {
	case "add":
		return addFace(rest)
	case "list":
		if _, err := parse(set, rest); err != nil {
			return err
		}
		return call(*at, http.MethodGet, "/faces", nil)
	case "remove", "stop", "start":
		given, err := parse(set, rest, "NAME")
		if err != nil {
			return err
		}
		path := "/faces/" + url.PathEscape(given[0])
		if action == "remove" {
			return call(*at, http.MethodDelete, path, nil)
		}
		return call(*at, http.MethodPost, path+"/"+action, nil)
	default:
		return fmt.Errorf("unknown action %q of face; use %s", action, known)
	}
}

func addFace(args []string) error {
	var options face.Options
	set, at := controlled("face add")
	set.IntVar(&options.Port, "port", 0, "port to listen at; 0: one that is free")
	set.StringVar(&options.Auth, "auth", face.NoAuth, "none, basic or token")
	set.StringVar(&options.User, "user", "", "user of basic and token")
	set.StringVar(&options.Password, "password", "", "password of that user")
	set.StringVar(&options.TLS, "tls", face.NoTLS, "none; known: of a CA that containerd is told to trust; unknown: of another")
	set.StringVar(&options.CacheOf, "cache-of", "", "face that this one is a pull-through cache of")
	given, err := parse(set, args, "NAME")
	if err != nil {
		return err
	}
	options.Name = given[0]
	return call(*at, http.MethodPost, "/faces", options)
}

func faultCommand(args []string) error {
	const known = "add, clear or list"
	action, rest, err := action("fault", args, known)
	if err != nil {
		return err
	}
	set, at := controlled("fault " + action)
	switch action {
	case "add":
		return addFault(rest)
	case "clear":
		id := set.Int("id", 0, "number of the rule; 0: all of the face")
		given, err := parse(set, rest, "FACE")
		if err != nil {
			return err
		}
		path := faults(given[0])
		if *id != 0 {
			path += "/" + strconv.Itoa(*id)
		}
		return call(*at, http.MethodDelete, path, nil)
	case "list":
		given, err := parse(set, rest, "FACE")
		if err != nil {
			return err
		}
		return call(*at, http.MethodGet, faults(given[0]), nil)
	default:
		return fmt.Errorf("unknown action %q of fault; use %s", action, known)
	}
}

func addFault(args []string) error {
	var rule fault.Rule
	var methods list
	set, at := controlled("fault add")
	set.StringVar((*string)(&rule.Effect), "effect", "", "status, delay, throttle, reset, hang, garbage or wrong")
	set.StringVar(&rule.Path, "path", "", "regular expression to be found in the path, as ^/v2/team/app/blobs/; empty: any")
	set.Var(&methods, "method", "method it holds for, may be given again; without: GET for throttle, reset, garbage and wrong, else any")
	set.Int64Var(&rule.Times, "times", 0, "how often it takes effect; 0: until it is cleared")
	set.IntVar(&rule.Status, "status", 0, "of status: the code, 400 to 599")
	set.StringVar(&rule.RetryAfter, "retry-after", "", "of status: the header Retry-After")
	delay := set.Duration("delay", 0, "of delay: how long")
	set.Int64Var(&rule.BytesPerSecond, "rate", 0, "of throttle: bytes a second")
	set.StringVar(&rule.Per, "per", "", "of throttle: request (each has the rate) or face (all share it)")
	set.Int64Var(&rule.AfterBytes, "after", 0, "of reset: bytes of the body before it")
	given, err := parse(set, args, "FACE")
	if err != nil {
		return err
	}
	rule.Methods = methods
	rule.DelayMilliseconds = delay.Milliseconds()
	return call(*at, http.MethodPost, faults(given[0]), rule)
}

func faults(face string) string { return "/faces/" + url.PathEscape(face) + "/faults" }

func countsCommand(args []string) error {
	set, at := controlled("counts")
	reset := set.Bool("reset", false, "set them to zero after reading")
	given, err := parseAny(set, args)
	if err != nil {
		return err
	}
	path := "/counts"
	switch len(given) {
	case 0:
	case 1:
		path += "?face=" + url.QueryEscape(given[0])
	default:
		return fmt.Errorf("unexpected argument %q; use one face, or none for all", given[1])
	}
	method := http.MethodGet
	if *reset {
		method = http.MethodDelete
	}
	return call(*at, method, path, nil)
}

func linkCommand(args []string) error {
	set, at := controlled("link")
	rate := set.Uint64("rate", 0, "bits a second that may leave; without this and --off nothing changes")
	off := set.Bool("off", false, "take the limit off")
	if _, err := parse(set, args); err != nil {
		return err
	}
	switch {
	case *off && *rate != 0:
		return errors.New("both --rate and --off are given; use one")
	case *off || *rate != 0:
		return call(*at, http.MethodPut, "/link", control.LinkLimit{RateBits: *rate})
	default:
		return call(*at, http.MethodGet, "/link", nil)
	}
}

func nameCommand(args []string) error {
	const known = "set, clear or list"
	action, rest, err := action("name", args, known)
	if err != nil {
		return err
	}
	set, at := controlled("name " + action)
	switch action {
	case "set":
		answer := set.String("answer", "", "address, nxdomain, servfail or timeout")
		given, err := parse(set, rest, "NAME")
		if err != nil {
			return err
		}
		return call(*at, http.MethodPut, "/names/"+url.PathEscape(given[0]), control.NameAnswer{Answer: names.Answer(*answer)})
	case "clear":
		given, err := parse(set, rest, "NAME")
		if err != nil {
			return err
		}
		return call(*at, http.MethodDelete, "/names/"+url.PathEscape(given[0]), nil)
	case "list":
		if _, err := parse(set, rest); err != nil {
			return err
		}
		return call(*at, http.MethodGet, "/names", nil)
	default:
		return fmt.Errorf("unknown action %q of name; use %s", action, known)
	}
}
