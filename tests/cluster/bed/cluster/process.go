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
	// death is the signal that children get when this process ends. Those in another
	// process namespace can have none: they do not see their parent, and Go takes it
	// for dead. They end with the first process there.
	death syscall.Signal
}

// newLauncher makes one whose children are in the namespaces that enter, unless it
// is nil, puts the calling thread into.
func newLauncher(binaries, home string, enter func() error) (*launcher, error) {
	l := &launcher{requests: make(chan func()), binaries: binaries, home: home, death: syscall.SIGKILL}
	entered := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever: the thread must outlive its children
		if enter != nil {
			if err := enter(); err != nil {
				entered <- err
				return
			}
		}
		close(entered)
		for request := range l.requests {
			request()
		}
	}()
	return l, <-entered
}

// start runs a component with its output appended to its log.
func (l *launcher) start(c component, logPath string) (*process, error) {
	program, path := c.program, c.path
	if program == "" {
		program = filepath.Join(l.binaries, c.name)
	}
	if path == "" {
		path = "/usr/bin:/bin"
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", c.name, err)
	}
	defer log.Close()
	command := exec.Command(program, c.args...)
	command.Stderr = log
	// A component that says when it is ready says it on its output.
	var said *os.File
	if c.ready != nil {
		reader, writer, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("making a pipe for %s: %w", c.name, err)
		}
		defer writer.Close()
		command.Stdout, said = writer, reader
	} else {
		command.Stdout = log
	}
	command.Env = []string{"HOME=" + l.home, "PATH=" + path, "TMPDIR=" + l.home}
	command.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: l.death,
		// Out of the terminal's foreground group: Ctrl-C is for us alone.
		Setpgid:    true,
		Cloneflags: c.namespaces,
	}
	started := make(chan error, 1)
	l.requests <- func() { started <- command.Start() }
	if err := <-started; err != nil {
		if said != nil {
			said.Close()
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s is not in %s; build it with tests/cluster/build.sh", c.name, l.binaries)
		}
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	p := &process{component: c, pid: command.Process.Pid, log: logPath, ended: make(chan struct{})}
	p.birth, _ = birthOf(p.pid)
	if said != nil {
		go func() {
			defer said.Close()
			c.ready(said)
		}()
	}
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
