package cluster

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// How long a supervisor may take to end itself, and a killed process to go.
const (
	stopLimit = 20 * time.Second
	killLimit = 10 * time.Second
)

// Down ends the cluster of a directory and removes its files. It gives false
// when there was none. What a killed supervisor left is cleared away too.
func Down(dir string) (bool, error) {
	at := layout{dir}
	record, err := readRecord(at)
	if errors.Is(err, errNoRecord) {
		if at.busy() {
			return false, fmt.Errorf("%s: a cluster is being started there; try again once it is up", dir)
		}
		return false, at.remove()
	}
	if err != nil {
		return false, err
	}
	was := record.alive()
	err = signalAndWait(record.PID, record.Birth, unix.SIGTERM, stopLimit)
	if errors.Is(err, errOutlived) {
		err = signalAndWait(record.PID, record.Birth, unix.SIGKILL, killLimit)
	}
	if err != nil {
		return was, err
	}
	// Its children die with it; this only waits until they have.
	for _, part := range record.Components {
		if err := signalAndWait(part.PID, part.Birth, unix.SIGKILL, killLimit); err != nil {
			return was, fmt.Errorf("%s: %w", part.Name, err)
		}
	}
	return was, at.remove()
}

// Status reads the record of a running cluster; false means there is none.
func Status(dir string) (Record, bool, error) {
	record, err := readRecord(layout{dir})
	if errors.Is(err, errNoRecord) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, err
	}
	return record, record.alive(), nil
}
