package names

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/netutil"
)

const (
	maxConnections = 100
	tcpTimeout     = 10 * time.Second
)

// Server answers at one port, by UDP and TCP.
type Server struct {
	zone   *Zone
	packet net.PacketConn
	stream net.Listener
}

// Listen starts to answer for a zone.
func Listen(zone *Zone, address string) (*Server, error) {
	stream, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for DNS: %w", err)
	}
	// The same port, also where the address left it open.
	packet, err := net.ListenPacket("udp", stream.Addr().String())
	if err != nil {
		stream.Close()
		return nil, fmt.Errorf("listening for DNS: %w", err)
	}
	server := &Server{zone, packet, netutil.LimitListener(stream, maxConnections)}
	go server.packets()
	go server.connections()
	return server, nil
}

// Address is where the server answers.
func (s *Server) Address() string { return s.packet.LocalAddr().String() }

// Close ends the server.
func (s *Server) Close() error { return errors.Join(s.packet.Close(), s.stream.Close()) }

func (s *Server) packets() {
	query := make([]byte, 4096)
	for {
		n, from, err := s.packet.ReadFrom(query)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if reply := s.zone.answer(query[:n]); reply != nil {
			_, _ = s.packet.WriteTo(reply, from)
		}
	}
}

func (s *Server) connections() {
	for {
		connection, err := s.stream.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go s.converse(connection)
		}
	}
}

// converse answers the queries of one TCP connection, each with its length before it.
func (s *Server) converse(connection net.Conn) {
	defer connection.Close()
	for {
		_ = connection.SetDeadline(time.Now().Add(tcpTimeout))
		var length uint16
		if binary.Read(connection, binary.BigEndian, &length) != nil {
			return
		}
		query := make([]byte, length)
		if _, err := io.ReadFull(connection, query); err != nil {
			return
		}
		reply := s.zone.answer(query)
		if reply == nil {
			continue
		}
		if _, err := connection.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}
