package site

import (
	"fmt"
	"net"
	"net/netip"
)

// MostNodes is how many nodes a site has room for.
const MostNodes = 4

// Sites take their addresses from what RFC 2544 keeps for tests of networks, 256
// sites on one host at most: 198.18.N.0/24 for the machines, 198.19.N.0/24 for pods.
func machineAddress(number, host int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(number), byte(host)})
}

const (
	hostPart     = 1
	registryPart = 3
	firstNode    = 11 // the addresses of the nodes follow one another
)

// Host is the host's own address, at which the API server listens.
func (s *Site) Host() netip.Addr { return machineAddress(s.number, hostPart) }

// Registry is the address of the registries' namespace.
func (s *Site) Registry() netip.Addr { return machineAddress(s.number, registryPart) }

// Node is the address of a node, counted from 0.
func (s *Site) Node(index int) netip.Addr { return machineAddress(s.number, firstNode+index) }

// Pods is the range that a node gives its pods addresses from: 62 of them.
func (s *Site) Pods(index int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, byte(s.number), byte(64 * index)}), 26)
}

// AllPods is the range of all pods of the site.
func (s *Site) AllPods() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, byte(s.number), 0}), 24)
}

func onMachines(address netip.Addr) *net.IPNet {
	return &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(24, 32)}
}

func network(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), 32)}
}

func hostLink(number int) string { return fmt.Sprintf("quaybed%d", number) }

// Name tells this site from others on the host.
func (s *Site) Name() string { return hostLink(s.number) }
