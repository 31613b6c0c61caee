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
type Fates func(node Quirks, reference string) Fate

// quickPull is what a pull takes when nothing else is said: long enough to be
// measured, short enough not to matter.
const quickPull = 3 * time.Millisecond

// slowPull is what `slow` stands for when it names no seconds.
const slowPull = 30 * time.Second

var (
	slowFor = regexp.MustCompile(`slow-(\d{1,6})s`)
	runsFor = regexp.MustCompile(`runs-(\d{1,6})s`)
)

// ByReference reads the fate out of the words in a reference, and then lets the
// node's quirks have their say. Words combine: `slow-3s-not-found` fails after
// three seconds.
func ByReference(node Quirks, reference string) Fate {
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
	if node.NotFound != "" && strings.Contains(reference, node.NotFound) {
		fate.Error = notFound(reference)
	}
	fate.Takes += node.delay(reference)
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
// that fails, with the reference spelt out in full as containerd does. The kubelet
// leaves gRPC's code out where it is Unknown. What real ones said is in
// tests/vectors/pull_messages.jsonl, and a test compares.
func pullError(reference string) string {
	full := normalise(reference)
	unpack := fmt.Sprintf("failed to pull and unpack image %q: ", full)
	switch {
	case strings.Contains(reference, "not-found"):
		return notFound(reference)
	case strings.Contains(reference, "denied"):
		return unpack + "failed to resolve image: pull access denied, repository does not exist or may require authorization: " +
			"authorization failed: no basic auth credentials"
	case strings.Contains(reference, "no-platform"):
		return "rpc error: code = NotFound desc = get image config descriptor: no match for platform in manifest sha256:" +
			hexDigest(full) + ": not found"
	default:
		return ""
	}
}

func notFound(reference string) string {
	full := normalise(reference)
	return fmt.Sprintf("rpc error: code = NotFound desc = failed to pull and unpack image %q: failed to resolve image: %s: not found", full, full)
}
