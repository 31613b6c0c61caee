package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"quayctl.test/cluster/bed/cluster"
)

// The bars, see docs/benchmarks.md.
const (
	requestsPerNode = 1.02
	requestsFixed   = 40
	wallRatio       = 1.10
	peakMiB         = 32
	memoryNodes     = 1000 // the largest cluster for which it holds
	firstMillis     = 500
	binaryMB        = 20
)

// row is one line of a setting's table.
type row struct {
	title string
	of    func(*Setting, Run) float64
	bar   func(s *Setting, ours spread) string // the limit for ours, and whether it was kept
}

var rows = []row{
	{"wall, s", wall, wallBar},
	{"requests", requests, func(s *Setting, ours spread) string {
		return most(ours, requestsPerNode*float64(s.Nodes)+requestsFixed)
	}},
	{"  a node", func(s *Setting, r Run) float64 { return requests(s, r) / float64(s.Nodes) }, none},
	{"  but POSTs of Jobs", func(_ *Setting, r Run) float64 { return float64(r.Requests - r.Posts) }, none},
	{"received, MB", func(_ *Setting, r Run) float64 { return float64(r.ReceivedBytes) / 1e6 }, none},
	{"sent, MB", func(_ *Setting, r Run) float64 { return float64(r.SentBytes) / 1e6 }, none},
	{"peak memory, MiB", func(_ *Setting, r Run) float64 { return float64(r.PeakBytes) / (1 << 20) }, memoryBar},
	{"CPU, s", func(_ *Setting, r Run) float64 { return r.CPUSeconds }, none},
	{"to first byte, ms", func(_ *Setting, r Run) float64 { return r.FirstSeconds * 1000 }, func(_ *Setting, ours spread) string {
		return most(ours, firstMillis)
	}},
}

func wall(_ *Setting, r Run) float64     { return r.WallSeconds }
func requests(_ *Setting, r Run) float64 { return float64(r.Requests) }
func none(*Setting, spread) string       { return "" }

func most(ours spread, limit float64) string {
	return "≤ " + short(limit) + ": " + verdict(ours.most <= limit)
}

func memoryBar(s *Setting, ours spread) string {
	if s.Nodes > memoryNodes {
		return ""
	}
	return most(ours, peakMiB)
}

// wallBar compares medians of one setting; it is a bar only where the cluster
// is as upstream ships it.
func wallBar(s *Setting, ours spread) string {
	theirs := s.spread(Kubectl, wall)
	if theirs.count == 0 {
		return ""
	}
	ratio := ours.median / theirs.median
	if s.Mode != cluster.Stock {
		return fmt.Sprintf("%.2f × kubectl", ratio)
	}
	return fmt.Sprintf("%.2f ≤ %.2f: %s", ratio, wallRatio, verdict(ratio <= wallRatio))
}

// Print writes the result for people, 80 columns wide.
func (r *Result) Print(out io.Writer) {
	kind := "dynamic"
	if r.Binary.Static {
		kind = "static"
	}
	if r.Binary.Stripped {
		kind = "stripped, " + kind
	}
	megabytes := float64(r.Binary.Bytes) / 1e6
	small := megabytes <= binaryMB && r.Binary.Static && r.Binary.Stripped
	fmt.Fprintf(out, "%s: %.1f MB, %s; bar: static, stripped, ≤ %d MB: %s\n", r.Binary.Version, megabytes, kind, binaryMB, verdict(small))
	fmt.Fprintf(out, "%s, %d cores, %.1f GiB, %s; %s\n", r.Machine.Processor, r.Machine.Cores,
		float64(r.Machine.MemoryBytes)/(1<<30), r.Machine.System, r.Began.Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(out, "%s\n", r.Command)
	for _, s := range r.Settings {
		s.print(out)
	}
}

func (s *Setting) print(out io.Writer) {
	size := ""
	if s.Realistic {
		size = ", realistic"
	}
	rounds := 0
	for _, run := range s.Runs {
		rounds = max(rounds, run.Round)
	}
	fmt.Fprintf(out, "\n%d nodes%s, %d images, mode %s, rounds: %d; median (least–most)\n", s.Nodes, size, s.Images, s.Mode, rounds)
	fmt.Fprintf(out, "%s%s%s%s\n", pad("", 20), pad(Ours, 21), pad(Kubectl, 21), "bar for ours")
	for _, line := range rows {
		ours, theirs := s.spread(Ours, line.of), s.spread(Kubectl, line.of)
		bar := ""
		if ours.count > 0 {
			bar = line.bar(s, ours)
		}
		text := pad(line.title, 20) + pad(ours.String(), 21) + pad(theirs.String(), 21) + bar
		fmt.Fprintln(out, strings.TrimRight(text, " "))
	}
	for _, run := range s.Runs {
		if run.Complete != s.Nodes || run.ExitCode != 0 {
			fmt.Fprintf(out, "round %d, %s: %d Jobs complete, exit code %d\n", run.Round, run.Contestant, run.Complete, run.ExitCode)
		}
	}
}

func verdict(kept bool) string {
	if kept {
		return "kept"
	}
	return "MISSED"
}

// spread is the middle and the ends of some numbers.
type spread struct {
	count               int
	median, least, most float64
}

func (s *Setting) spread(contestant string, of func(*Setting, Run) float64) spread {
	var values []float64
	for _, run := range s.Runs {
		if run.Contestant == contestant {
			values = append(values, of(s, run))
		}
	}
	return spreadOf(values)
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return spread{len(sorted), median, sorted[0], sorted[len(sorted)-1]}
}

func (s spread) String() string {
	if s.count == 0 {
		return "-"
	}
	if s.least == s.most {
		return short(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", short(s.median), short(s.least), short(s.most))
}

// short gives three digits that matter, and whole numbers whole.
func short(value float64) string {
	switch {
	case value >= 100 || value == float64(int64(value)):
		return fmt.Sprintf("%.0f", value)
	case value >= 10:
		return fmt.Sprintf("%.1f", value)
	default:
		return fmt.Sprintf("%.2f", value)
	}
}

// pad fills up to a width in characters; fmt counts bytes only for %s of
// strings with bytes, and ours hold dashes.
func pad(text string, width int) string {
	for n := utf8.RuneCountInString(text); n < width; n++ {
		text += " "
	}
	return text
}
