package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// glance lies between two looks at a process's memory.
	glance = 10 * time.Millisecond
	// endLimit is how long a contestant that ran out of time may take to end.
	endLimit = 15 * time.Second
)

// usage is what one process took.
type usage struct {
	began  time.Time
	wall   time.Duration
	cpu    time.Duration
	peak   int64 // bytes of memory
	growth []Growth
	code   int
}

// Growth is a moment at which the peak of memory had grown by a tenth.
type Growth struct {
	Seconds  float64 `json:"seconds"`
	Peak     int64   `json:"peakBytes"`
	Received int64   `json:"receivedBytes"` // until then, so that the phase can be told
}

// measure runs a program to its end and watches it. The end of ctx asks the
// program to end and is no error.
func measure(ctx context.Context, command *exec.Cmd, m *meter) (usage, error) {
	u := usage{began: time.Now()}
	if err := command.Start(); err != nil {
		return u, fmt.Errorf("starting %s: %w", command.Path, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	looks := time.NewTicker(glance)
	defer looks.Stop()
	expired := ctx.Done()
	for {
		select {
		case err := <-ended:
			u.wall = time.Since(u.began)
			return u, u.finish(command.ProcessState, err)
		case <-looks.C:
			u.look(command.Process.Pid, m)
		case <-expired:
			expired = nil
			_ = command.Process.Signal(syscall.SIGTERM)
			time.AfterFunc(endLimit, func() { _ = command.Process.Kill() })
		}
	}
}

// look reads the peak so far. The kernel keeps it, so only what comes between
// the last look and the end is missed.
func (u *usage) look(pid int, m *meter) {
	peak := peakOf(pid)
	if peak <= u.peak {
		return
	}
	u.peak = peak
	if n := len(u.growth); n == 0 || peak > u.growth[n-1].Peak*11/10 {
		u.growth = append(u.growth, Growth{time.Since(u.began).Seconds(), peak, m.received.Load()})
	}
}

func (u *usage) finish(state *os.ProcessState, err error) error {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	u.code = state.ExitCode()
	u.cpu = state.UserTime() + state.SystemTime()
	// The kernel's own figure is exact, but it starts from the memory of the
	// process that forked: it says something only where it is above that.
	if used, ok := state.SysUsage().(*syscall.Rusage); ok {
		if most := used.Maxrss << 10; most > u.peak && most > peakOf(os.Getpid()) {
			u.peak = most
		}
	}
	return nil
}

// peakOf reads the peak of a process's memory; 0 once it is gone.
func peakOf(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	if !found {
		return 0
	}
	fields := strings.Fields(rest)
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// plus adds what the next process of the same contestant took.
func (u usage) plus(next usage) usage {
	u.wall = next.began.Add(next.wall).Sub(u.began)
	u.cpu += next.cpu
	u.peak = max(u.peak, next.peak)
	u.code = max(u.code, next.code)
	return u
}
