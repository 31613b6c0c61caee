package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"quayctl.test/cluster/bed/cluster"
)

// up starts a cluster that outlives this program.
func up(args []string) error {
	var options cluster.Options
	if err := parse(startFlags("up", &options), args); err != nil {
		return err
	}
	if err := options.Check(); err != nil {
		return err
	}
	if _, running, err := cluster.Status(options.Dir); err == nil && running {
		return fmt.Errorf("%s: a cluster is running there already; end it with: bed down --dir %s", options.Dir, options.Dir)
	}
	log, err := openLog(options.Dir)
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	supervisor := exec.Command(self, append([]string{"run"}, args...)...)
	supervisor.Stderr = log
	// A session of its own: it is not ended with our terminal.
	supervisor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	output, err := supervisor.StdoutPipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	if err := supervisor.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil { // it has ended without the line, and has cleaned up
		_ = supervisor.Wait()
		return errors.New(lastWords(log, begin))
	}
	var ready cluster.Ready
	if err := json.Unmarshal(line, &ready); err != nil {
		return fmt.Errorf("the supervisor said %q: %w", line, err)
	}
	fmt.Println(ready.Kubeconfig)
	return nil
}

// openLog opens the supervisor's log. It stays readable through the file handle
// after a failed start has removed it.
func openLog(dir string) (*os.File, error) {
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(state, "bed.log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	return log, nil
}

// lastWords is the error the supervisor ended with: everything from the last
// line that starts as its error messages do.
func lastWords(log *os.File, begin int64) string {
	text, err := io.ReadAll(io.NewSectionReader(log, begin, 1<<20))
	if err != nil || len(text) == 0 {
		return "the supervisor ended without a word"
	}
	said := "\n" + strings.TrimSpace(string(text))
	if at := strings.LastIndex(said, "\nbed: "); at >= 0 {
		return said[at+len("\nbed: "):]
	}
	return strings.TrimSpace(said)
}
