package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// startLimit bounds the whole start: it takes seconds, but a machine that
// compiles beside it may take minutes.
const startLimit = 5 * time.Minute

// startLimitPerNode is added for each node.
const startLimitPerNode = 100 * time.Millisecond

// startAgain is how often a start is tried when another process was faster to
// take one of the ports chosen.
const startAgain = 3

// Ready is the line that tells that a cluster is ready.
type Ready struct {
	Ready      bool   `json:"ready"`
	Kubeconfig string `json:"kubeconfig"`
	Server     string `json:"server"`
	Dir        string `json:"dir"`
	// Registry is where the registries are commanded, with real nodes.
	Registry string `json:"registry,omitempty"`
}

// supervisor runs one cluster.
type supervisor struct {
	options Options
	at      layout
	start   *launcher
	ended   chan *process
	due     chan component // those that are to be started again now

	real realNodes // none unless asked for

	mu        sync.Mutex
	processes map[string]*process
	record    Record
	up        bool // the cluster has been announced
}

// Run starts a cluster, calls announce once it is ready and keeps it until ctx
// ends or a component does. It leaves nothing behind.
func Run(ctx context.Context, options Options, announce func(Ready)) (err error) {
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return fmt.Errorf("finding %s: %w", options.Dir, err)
	}
	at := layout{dir}
	lock, err := at.claim()
	if err != nil {
		return err
	}
	defer lock.Close()
	defer func() { err = errors.Join(err, at.remove()) }()
	for try := 1; ; try++ {
		err = runOnce(ctx, options, at, announce)
		if try == startAgain || !errors.Is(err, errPortTaken) {
			break
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // it was asked to end
	}
	return err
}

var errPortTaken = errors.New("another process took one of the ports")

func runOnce(ctx context.Context, options Options, at layout, announce func(Ready)) error {
	if err := at.clear(); err != nil {
		return fmt.Errorf("clearing %s: %w", at.root(), err)
	}
	start, err := newLauncher(options.Binaries, at.root(), nil)
	if err != nil {
		return err
	}
	s := &supervisor{
		options:   options,
		at:        at,
		start:     start,
		ended:     make(chan *process, 16),
		due:       make(chan component),
		processes: map[string]*process{},
	}
	ctx, cancel := context.WithCancelCause(ctx)
	watching := make(chan struct{})
	defer func() {
		cancel(nil)
		<-watching // it may be starting something
		s.killAll()
	}()
	go func() {
		defer close(watching)
		s.watchEnds(ctx, cancel)
	}()
	err = s.bringUp(ctx, announce)
	if err == nil {
		<-ctx.Done()
		err = context.Cause(ctx)
	}
	// What a component said when it ended explains more than what its end
	// broke elsewhere.
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

func (s *supervisor) launch(all []component) error {
	for _, c := range all {
		if err := s.launchOne(c); err != nil {
			return err
		}
	}
	return nil
}

func (s *supervisor) launchOne(c component) error {
	on := c.on
	if on == nil {
		on = s.start
	}
	p, err := on.start(c, s.at.log(c.name))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes[c.name] = p
	go func() {
		<-p.ended
		s.ended <- p
	}()
	part := PartOfRecord{Name: c.name, PID: p.pid, Birth: p.birth, Port: c.port, Log: p.log, Node: c.node}
	for i := range s.record.Components {
		if s.record.Components[i].Name == c.name {
			s.record.Components[i] = part
			return s.record.write(s.at)
		}
	}
	s.record.Components = append(s.record.Components, part)
	return s.record.write(s.at)
}

// watchEnds acts on components that end by themselves.
func (s *supervisor) watchEnds(ctx context.Context, fail context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-s.ended:
			if ctx.Err() != nil {
				return
			}
			// Later on others know the ports, so they cannot be chosen anew; the
			// port may be free again at the next try.
			if !s.isUp() && strings.Contains(tail(p.log), "address already in use") {
				fail(fmt.Errorf("%w: %w", errPortTaken, p.obituary()))
				return
			}
			switch s.options.OnEnd {
			case EndIgnored:
				fmt.Fprintf(os.Stderr, "bed: ignoring: %v\n", p.obituary())
			case EndRestarts:
				fmt.Fprintf(os.Stderr, "bed: restarting in %v: %v\n", s.options.RestartAfter, p.obituary())
				go s.bringBack(ctx, p.component)
			default:
				fail(p.obituary())
				return
			}
		case c := <-s.due:
			if err := s.launchOne(c); err != nil {
				fail(err)
				return
			}
		}
	}
}

// bringBack hands a component over to be started again once its time has come.
// Meanwhile others may end, which is why nobody sleeps in watchEnds.
func (s *supervisor) bringBack(ctx context.Context, c component) {
	timer := time.NewTimer(s.options.RestartAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	select {
	case s.due <- c:
	case <-ctx.Done():
	}
}

func (s *supervisor) isUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up
}

func (s *supervisor) killAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		p.kill()
	}
	close(s.start.requests)
	s.real.end()
}
