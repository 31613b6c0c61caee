package cluster

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// supervisorName is how the supervisor itself is called among the components.
const supervisorName = "bed"

// signals are those a test may send: to end a component, suddenly or not, and
// to make it hang and go on.
var signals = map[string]unix.Signal{
	"KILL": unix.SIGKILL,
	"TERM": unix.SIGTERM,
	"STOP": unix.SIGSTOP,
	"CONT": unix.SIGCONT,
}

// Signal sends a signal to one component of a running cluster. The supervisor
// is one too: it plays the kubelets, so they all stand still while it does.
func Signal(dir, name, signal string) error {
	number, known := signals[strings.TrimPrefix(strings.ToUpper(signal), "SIG")]
	if !known {
		return fmt.Errorf("--signal is %q; use KILL, TERM, STOP or CONT", signal)
	}
	record, running, err := Status(dir)
	if err != nil {
		return err
	}
	if !running {
		return fmt.Errorf("%s: %w", dir, errNoRecord)
	}
	parts, err := record.parts(name)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if err := signalOne(part.PID, part.Birth, number); err != nil {
			return fmt.Errorf("%s: %w", part.Name, err)
		}
	}
	return nil
}

// parts are the component of a name, or all of the real node of that name.
func (r Record) parts(name string) ([]PartOfRecord, error) {
	if name == supervisorName {
		return []PartOfRecord{{Name: name, PID: r.PID, Birth: r.Birth}}, nil
	}
	names := []string{supervisorName}
	var found []PartOfRecord
	for _, part := range r.Components {
		if part.Name == name || part.Node == name {
			found = append(found, part)
		}
		names = append(names, part.Name)
	}
	if len(found) > 0 {
		return found, nil
	}
	slices.Sort(names)
	return nil, fmt.Errorf("--component is %q; use one of: %s", name, strings.Join(names, ", "))
}
