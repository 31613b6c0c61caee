package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// birthOf is the start time of a process in clock ticks since boot. With the
// number it names one process for good: numbers are used again, pairs are not.
func birthOf(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The name, second and in brackets, may hold anything; start from its end.
	// After it come the fields from the third on; the start time is the 22nd.
	end := bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[end+1:])
	if end < 0 || len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat has an unknown form", pid)
	}
	if state := fields[0][0]; state == 'Z' || state == 'X' {
		return "", os.ErrNotExist // over, only not reaped by its parent yet
	}
	return string(fields[19]), nil
}

// errOutlived means that a process was still there when the wait was over.
var errOutlived = errors.New("it did not end in time")

// errGone means that the process meant has ended already.
var errGone = errors.New("it has ended already")

// hold opens a handle of one certain process. What a handle names never
// changes, so comparing the start time after opening it is safe.
func hold(pid int, birth string) (int, error) {
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return 0, errGone
	}
	if err != nil {
		return 0, fmt.Errorf("opening process %d: %w", pid, err)
	}
	if now, err := birthOf(pid); err != nil || now != birth {
		unix.Close(handle)
		return 0, errGone
	}
	return handle, nil
}

// signalOne sends a signal to one certain process.
func signalOne(pid int, birth string, signal unix.Signal) error {
	handle, err := hold(pid, birth)
	if err != nil {
		return err
	}
	defer unix.Close(handle)
	err = unix.PidfdSendSignal(handle, signal, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("signalling process %d: %w", pid, err)
	}
	return nil
}

// signalAndWait sends a signal to one certain process and waits until it has
// ended. A process that is gone already is no error.
func signalAndWait(pid int, birth string, signal unix.Signal, limit time.Duration) error {
	handle, err := hold(pid, birth)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(handle)
	if err := unix.PidfdSendSignal(handle, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("ending process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		deadline, _ := ctx.Deadline()
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("process %d: %w", pid, errOutlived)
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for process %d: %w", pid, err)
		}
		if ready > 0 {
			return nil
		}
	}
}
