package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"quayctl.test/cluster/bed/audit"
)

// Options say what to measure.
type Options struct {
	Dir        string // of the clusters and of what the contestants read and write
	Binaries   string // directory of the bed's programs
	Controller string // the release binary
	Raw        string // file for all that was measured
	Command    string // how it was called, for the record
	Nodes      []int
	Images     int
	Rounds     int
	Modes      []string
	Only       string // one contestant's name, or empty
	Realistic  bool
	Timeout    time.Duration // of one contestant
}

// Result is all that was measured in one run.
type Result struct {
	Began    time.Time  `json:"began"`
	Command  string     `json:"command"`
	Machine  Machine    `json:"machine"`
	Binary   Binary     `json:"binary"`
	Settings []*Setting `json:"settings"`
}

// Setting is one cluster and the runs on it.
type Setting struct {
	Mode         string  `json:"mode"`
	Nodes        int     `json:"nodes"`
	Images       int     `json:"images"`
	Realistic    bool    `json:"realistic"`
	ReadySeconds float64 `json:"readySeconds"` // until the cluster could be used
	Runs         []Run   `json:"runs"`
}

// Run is what one contestant took in one round.
type Run struct {
	Contestant    string      `json:"contestant"`
	Round         int         `json:"round"`
	Namespace     string      `json:"namespace"`
	Began         time.Time   `json:"began"`
	LoadBefore    string      `json:"loadBefore"` // of the machine: 1, 5 and 15 minutes
	WallSeconds   float64     `json:"wallSeconds"`
	CPUSeconds    float64     `json:"cpuSeconds"`
	PeakBytes     int64       `json:"peakBytes"`
	Growth        []Growth    `json:"growth"`
	SentBytes     int64       `json:"sentBytes"`
	ReceivedBytes int64       `json:"receivedBytes"`
	FirstSeconds  float64     `json:"firstByteSeconds"`
	Requests      int         `json:"requests"`
	Posts         int         `json:"posts"` // of Jobs, among the requests
	RequestRows   []audit.Row `json:"requestRows"`
	Complete      int         `json:"jobsComplete"`
	ExitCode      int         `json:"exitCode"`
	TimedOut      bool        `json:"timedOut"`
}

// ErrIncomplete means that some contestant did not get everything done.
var ErrIncomplete = errors.New("not every Job completed; see the raw data")

// Measure goes through all settings. It writes the raw data after each run, so
// that nothing is lost with the machine's patience.
func Measure(ctx context.Context, options Options) (*Result, error) {
	binary, err := inspect(options.Controller)
	if err != nil {
		return nil, err
	}
	binary.Version = versionOf(options.Controller, "--version")
	result := &Result{Began: time.Now().UTC(), Command: options.Command, Machine: thisMachine(), Binary: binary}
	complete := true
	for _, nodes := range options.Nodes {
		for _, mode := range options.Modes {
			setting := &Setting{Mode: mode, Nodes: nodes, Images: options.Images, Realistic: options.Realistic}
			result.Settings = append(result.Settings, setting)
			save := func() error { return writeJSON(options.Raw, result) }
			if err := setting.measure(ctx, options, save); err != nil {
				return result, fmt.Errorf("%d nodes, mode %s: %w", nodes, mode, err)
			}
			complete = complete && setting.complete()
		}
	}
	if !complete {
		return result, ErrIncomplete
	}
	return result, nil
}

func (s *Setting) measure(ctx context.Context, options Options, save func() error) error {
	say("starting a control plane with %d nodes, mode %s", s.Nodes, s.Mode)
	a, err := open(ctx, options, s)
	if err != nil {
		return err
	}
	defer a.close()
	say("ready after %.0f s", s.ReadySeconds)
	for round := 1; round <= options.Rounds; round++ {
		for _, c := range orderOf(round, options.Only) {
			run, err := a.compete(ctx, c, fmt.Sprintf("%s-%d-%s", s.Mode, round, c.name))
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", round, c.name, err)
			}
			run.Round = round
			s.Runs = append(s.Runs, run)
			say("round %d, %s: %.1f s, %d requests, %d of %d Jobs complete, exit code %d",
				round, c.name, run.WallSeconds, run.Requests, run.Complete, s.Nodes, run.ExitCode)
			if err := save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// orderOf rotates the contestants, so that none always has the fresher cluster.
func orderOf(round int, only string) []contestant {
	var order []contestant
	for k := range contestants {
		c := contestants[(k+round-1)%len(contestants)]
		if only == "" || only == c.name {
			order = append(order, c)
		}
	}
	return order
}

func (s *Setting) complete() bool {
	return !slices.ContainsFunc(s.Runs, func(r Run) bool { return r.Complete != s.Nodes || r.ExitCode != 0 })
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
