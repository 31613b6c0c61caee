package fault

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
)

// drainTimeout is how long a reset waits for what was sent before it. A client
// that reads nothing gets less.
const (
	drainTimeout  = 30 * time.Second
	drainInterval = 5 * time.Millisecond
)

// reset ends a request's connection with a TCP reset and does not return.
func reset(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush()
	connection, _ := r.Context().Value(connectionKey{}).(net.Conn)
	if encrypted, ok := connection.(*tls.Conn); ok {
		connection = encrypted.NetConn()
	}
	if plain, ok := connection.(*net.TCPConn); ok {
		// A reset throws away what has not been sent.
		for began := time.Now(); unsent(plain) > 0 && time.Since(began) < drainTimeout; {
			time.Sleep(drainInterval)
		}
		_ = plain.SetLinger(0)
		_ = plain.Close()
	}
	panic(http.ErrAbortHandler)
}

// unsent is the bytes that the other side has not acknowledged.
func unsent(connection *net.TCPConn) int {
	bytes := 0
	raw, err := connection.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { bytes, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return bytes
}
