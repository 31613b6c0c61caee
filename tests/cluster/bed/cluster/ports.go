package cluster

import (
	"fmt"
	"net"
	"net/netip"
)

// ports of one cluster, all on the loopback address.
type ports struct {
	etcd, etcdPeer, apiserver, manager, scheduler int
}

// freePorts asks the kernel for ports nobody uses. They are given back before
// the components take them, so another process may be faster: see startAgain.
func freePorts() (ports, error) {
	var chosen ports
	for _, port := range []*int{
		&chosen.etcd, &chosen.etcdPeer, &chosen.apiserver, &chosen.manager, &chosen.scheduler,
	} {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return ports{}, fmt.Errorf("finding a free port: %w", err)
		}
		defer listener.Close() // at the end: none may be chosen twice
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return chosen, nil
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
