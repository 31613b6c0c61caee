package bench

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// forwarder passes connections on to the API server and counts what goes
// through. It does not look inside: the bytes are those of TLS.
type forwarder struct {
	listener net.Listener
	target   string
	current  atomic.Pointer[meter]
}

// meter counts for one contestant.
type meter struct {
	sent     atomic.Int64 // by the contestant
	received atomic.Int64
	once     sync.Once
	first    time.Time // when its first byte came
	open     sync.WaitGroup
}

func newForwarder(target string) (*forwarder, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	f := &forwarder{listener: listener, target: target}
	f.meter()
	go f.serve()
	return f, nil
}

func (f *forwarder) address() string { return f.listener.Addr().String() }
func (f *forwarder) close()          { f.listener.Close() }

// meter begins a new count: connections made from now on go there.
func (f *forwarder) meter() *meter {
	m := &meter{}
	f.current.Store(m)
	return m
}

func (f *forwarder) serve() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		m := f.current.Load()
		m.open.Add(1)
		go func() {
			defer m.open.Done()
			f.pass(client, m)
		}()
	}
}

func (f *forwarder) pass(client net.Conn, m *meter) {
	defer client.Close()
	server, err := net.Dial("tcp4", f.target)
	if err != nil {
		return // the contestant sees its connection end
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Add(2)
	go func() {
		defer both.Done()
		copyCounting(server, client, func(n int) {
			m.once.Do(func() { m.first = time.Now() })
			m.sent.Add(int64(n))
		})
	}()
	go func() {
		defer both.Done()
		copyCounting(client, server, func(n int) { m.received.Add(int64(n)) })
	}()
	both.Wait()
}

// copyCounting copies until one side ends, and then lets the other side know.
func copyCounting(to, from net.Conn, count func(int)) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			count(n)
			if _, failed := to.Write(buffer[:n]); failed != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	if half, ok := from.(interface{ CloseRead() error }); ok {
		_ = half.CloseRead()
	}
}

// drained waits until the contestant's connections have ended, which they do
// shortly after the contestant itself.
func (m *meter) drained(limit time.Duration) {
	done := make(chan struct{})
	go func() {
		m.open.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// firstAfter is how long after began the first byte came; 0 if none did.
func (m *meter) firstAfter(began time.Time) time.Duration {
	m.once.Do(func() { m.first = began }) // from now on nobody writes it
	return m.first.Sub(began)
}
