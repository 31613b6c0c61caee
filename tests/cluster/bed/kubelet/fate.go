package kubelet

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Fate is what becomes of pulling one image on one node, and of a container
// started from it.
type Fate struct {
	Takes time.Duration // how long the pull lasts
	Error string        // the runtime's words; empty: the pull works
	Runs  time.Duration // how long a container of this image runs
	Exits int32         // with which code it ends
}

// Fates chooses a fate. The node is a parameter so that nodes can differ.
type Fates func(node, reference string) Fate

// quickPull is what a pull takes when nothing else is said: long enough to be
// measured, short enough not to matter.
const quickPull = 3 * time.Millisecond

// slowPull is what `slow` stands for when it names no seconds.
const slowPull = 30 * time.Second

var (
	slowFor = regexp.MustCompile(`slow-(\d{1,6})s`)
	runsFor = regexp.MustCompile(`runs-(\d{1,6})s`)
)

// ByReference reads the fate out of the words in a reference, the same on
// every node. Words combine: `slow-3s-not-found` fails after three seconds.
func ByReference(_, reference string) Fate {
	fate := Fate{Takes: quickPull, Error: pullError(reference), Runs: seconds(runsFor, reference)}
	switch {
	case slowFor.MatchString(reference):
		fate.Takes = seconds(slowFor, reference)
	case strings.Contains(reference, "slow"):
		fate.Takes = slowPull
	}
	if strings.Contains(reference, "crash") {
		fate.Exits = 1
	}
	return fate
}

func seconds(pattern *regexp.Regexp, reference string) time.Duration {
	found := pattern.FindStringSubmatch(reference)
	if found == nil {
		return 0
	}
	length, err := time.ParseDuration(found[1] + "s")
	if err != nil {
		return 0
	}
	return length
}

// pullError gives the words containerd 2.4 reports through the CRI for a pull
// that fails, with the reference spelt out in full as containerd does.
func pullError(reference string) string {
	full := normalise(reference)
	unpack := fmt.Sprintf("desc = failed to pull and unpack image %q: ", full)
	switch {
	case strings.Contains(reference, "not-found"):
		return "rpc error: code = NotFound " + unpack + "failed to resolve image: " + full + ": not found"
	case strings.Contains(reference, "denied"):
		return "rpc error: code = Unknown " + unpack + "failed to resolve image: pull access denied, " +
			"repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"
	case strings.Contains(reference, "no-platform"):
		return "rpc error: code = NotFound " + unpack + "no match for platform in manifest: not found"
	default:
		return ""
	}
}
