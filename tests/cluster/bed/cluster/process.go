package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// process is a component that was started.
type process struct {
	component
	pid   int
	birth string // see birthOf
	log   string
	ended chan struct{} // closed once it has ended, after err is set
	err   error
}

// launcher starts processes that end with this one, however this one ends.
// The kernel ties the parent-death signal to the thread that forked, so all
// are started by one thread, which lives as long as the launcher.
type launcher struct {
	requests chan func()
	binaries string
	home     string
}

func newLauncher(binaries, home string) *launcher {
	l := &launcher{requests: make(chan func()), binaries: binaries, home: home}
	go func() {
		runtime.LockOSThread() // for ever: the thread must outlive its children
		for request := range l.requests {
			request()
		}
	}()
	return l
}

// start runs a component with its output appended to its log.
func (l *launcher) start(c component, logPath string) (*process, error) {
	program := filepath.Join(l.binaries, c.name)
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", c.name, err)
	}
	defer log.Close()
	command := exec.Command(program, c.args...)
	command.Stdout, command.Stderr = log, log
	command.Env = []string{"HOME=" + l.home, "PATH=/usr/bin:/bin", "TMPDIR=" + l.home}
	command.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// Out of the terminal's foreground group: Ctrl-C is for us alone.
		Setpgid: true,
	}
	started := make(chan error, 1)
	l.requests <- func() { started <- command.Start() }
	if err := <-started; err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s is not in %s; build it with tests/cluster/build.sh", c.name, l.binaries)
		}
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	p := &process{component: c, pid: command.Process.Pid, log: logPath, ended: make(chan struct{})}
	p.birth, _ = birthOf(p.pid)
	go func() {
		p.err = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// kill ends the process at once and waits for it. None of them has anything
// to save.
func (p *process) kill() {
	select {
	case <-p.ended:
		return
	default:
	}
	_ = syscall.Kill(p.pid, syscall.SIGKILL) // ours, and not reaped yet
	<-p.ended
}

// obituary says how a component ended, with the end of its log.
func (p *process) obituary() error {
	how := "exit status 0"
	if p.err != nil {
		how = p.err.Error()
	}
	return fmt.Errorf("%s ended unexpectedly: %s; the end of its log:\n%s", p.name, how, tail(p.log))
}

// tail gives the last lines of a file, as much as is worth printing.
func tail(path string) string {
	const most = 4096
	file, err := os.Open(path)
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > most {
		_, _ = file.Seek(-most, io.SeekEnd)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return "(unreadable log: " + err.Error() + ")"
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) > 12 {
		lines = lines[len(lines)-12:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}
