package cluster

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper starts a process that does nothing, and gives its record.
func sleeper(t *testing.T) (*exec.Cmd, PartOfRecord) {
	t.Helper()
	command := exec.Command("sleep", "60")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	birth, err := birthOf(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return command, PartOfRecord{Name: "sleeper", PID: command.Process.Pid, Birth: birth}
}

// clusterOf writes the record of a cluster with one component, supervised by
// a second process.
func clusterOf(t *testing.T, part PartOfRecord) string {
	t.Helper()
	_, supervisor := sleeper(t)
	at := layout{t.TempDir()}
	lock, err := at.claim()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	record := Record{PID: supervisor.PID, Birth: supervisor.Birth, Components: []PartOfRecord{part}}
	if err := record.write(at); err != nil {
		t.Fatal(err)
	}
	return at.dir
}

func TestASignalReachesTheComponentNamed(t *testing.T) {
	command, part := sleeper(t)
	dir := clusterOf(t, part)
	if err := Signal(dir, "sleeper", "term"); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("it ended with %v", err)
	}
	if err := Signal(dir, "sleeper", "KILL"); !errors.Is(err, errGone) {
		t.Errorf("a second signal: %v, want %v", err, errGone)
	}
}

func TestASignalSparesAProcessThatOnlyHasTheNumber(t *testing.T) {
	_, part := sleeper(t)
	part.Birth += "0"
	if err := Signal(clusterOf(t, part), "sleeper", "KILL"); !errors.Is(err, errGone) {
		t.Errorf("got %v, want %v", err, errGone)
	}
	if err := signalAndWait(part.PID, strings.TrimSuffix(part.Birth, "0"), unix.SIGCONT, time.Millisecond); !errors.Is(err, errOutlived) {
		t.Errorf("the process is gone: %v", err)
	}
}

func TestWrongSignalsAndComponentsAreNamed(t *testing.T) {
	_, part := sleeper(t)
	dir := clusterOf(t, part)
	for _, wrong := range [][3]string{
		{"sleeper", "HUP", "use KILL"},
		{"apiserver", "KILL", "use one of: bed, sleeper"},
	} {
		if err := Signal(dir, wrong[0], wrong[1]); err == nil || !strings.Contains(err.Error(), wrong[2]) {
			t.Errorf("%v: got %v", wrong, err)
		}
	}
	if err := Signal(t.TempDir(), "etcd", "KILL"); !errors.Is(err, errNoRecord) {
		t.Errorf("no cluster: got %v", err)
	}
}
