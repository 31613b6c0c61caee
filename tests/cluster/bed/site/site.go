package site

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Site is one such network.
type Site struct {
	number int
	middle *Namespace // with the bridge
	bridge netlink.Link
	host   *netlink.Handle
	door   netlink.Link // the host's end of its cable
	others []*Namespace
}

// New makes a site with nothing in it but the host.
func New() (*Site, error) {
	host, err := netlink.NewHandle()
	if err != nil {
		return nil, fmt.Errorf("talking to the host's network: %w", err)
	}
	middle, err := newNamespace()
	if err != nil {
		host.Close()
		return nil, err
	}
	s := &Site{middle: middle, host: host}
	if err := s.build(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Site) build() error {
	bridge := netlink.NewLinkAttrs()
	bridge.Name = "site"
	if err := s.middle.links.LinkAdd(&netlink.Bridge{LinkAttrs: bridge}); err != nil {
		return fmt.Errorf("making a bridge: %w", err)
	}
	var err error
	if s.bridge, err = setUp(s.middle.links, "site", nil); err != nil {
		return err
	}
	if err := s.claimNumber(); err != nil {
		return err
	}
	s.door, err = setUp(s.host, hostLink(s.number), &netlink.Addr{IPNet: onMachines(s.Host())})
	if err != nil {
		return err
	}
	if err := s.routePods(s.host, s.door, -1); err != nil {
		return err
	}
	return s.plugIn("host")
}

// claimNumber takes the first number that no other site on this host has, by the
// name of the host's interface: only one can make it.
func (s *Site) claimNumber() error {
	for number := range 256 {
		if taken, err := s.isTaken(number); err != nil || taken {
			if err != nil {
				return err
			}
			continue
		}
		attributes := netlink.NewLinkAttrs()
		attributes.Name = hostLink(number)
		err := s.host.LinkAdd(&netlink.Veth{
			LinkAttrs: attributes, PeerName: "host", PeerNamespace: netlink.NsFd(s.middle.handle),
		})
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return fmt.Errorf("making the host's interface: %w", err)
		}
		s.number = number
		return nil
	}
	return errors.New("no addresses are left in 198.18.0.0/15; other sites or this machine's network use them")
}

// isTaken says whether the host has an address of a number's already.
func (s *Site) isTaken(number int) (bool, error) {
	addresses, err := s.host.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return false, fmt.Errorf("listing the host's addresses: %w", err)
	}
	for _, address := range addresses {
		for _, candidate := range []netip.Addr{machineAddress(number, hostPart), machineAddress(number, firstNode)} {
			if address.Contains(candidate.AsSlice()) {
				return true, nil
			}
		}
	}
	return false, nil
}

// plugIn connects an interface of the middle to the bridge.
func (s *Site) plugIn(name string) error {
	port, err := setUp(s.middle.links, name, nil)
	if err != nil {
		return err
	}
	if err := s.middle.links.LinkSetMaster(port, s.bridge); err != nil {
		return fmt.Errorf("plugging %s in: %w", name, err)
	}
	return nil
}

// AddRegistry makes the namespace of the registries.
func (s *Site) AddRegistry() (*Namespace, error) { return s.add("registry", s.Registry(), -1) }

// AddNode makes the namespace of a node.
func (s *Site) AddNode(index int) (*Namespace, error) {
	return s.add(fmt.Sprintf("node%d", index), s.Node(index), index)
}

// inside is what each namespace calls its interface.
const inside = "eth0"

// add makes a namespace, plugs it in and tells it the way to all pods but those of
// the node that it is for, if any. There is no way out of the site.
func (s *Site) add(port string, address netip.Addr, own int) (*Namespace, error) {
	added, err := newNamespace()
	if err != nil {
		return nil, err
	}
	s.others = append(s.others, added)
	attributes := netlink.NewLinkAttrs()
	attributes.Name = port
	err = s.middle.links.LinkAdd(&netlink.Veth{
		LinkAttrs: attributes, PeerName: inside, PeerNamespace: netlink.NsFd(added.handle),
	})
	if err != nil {
		return nil, fmt.Errorf("making the interface of %s: %w", port, err)
	}
	if err := s.plugIn(port); err != nil {
		return nil, err
	}
	link, err := setUp(added.links, inside, &netlink.Addr{IPNet: onMachines(address)})
	if err != nil {
		return nil, err
	}
	return added, s.routePods(added.links, link, own)
}

// routePods adds the ways to the pods of all nodes, those too that are not there yet.
func (s *Site) routePods(links *netlink.Handle, link netlink.Link, own int) error {
	for index := range MostNodes {
		if index == own {
			continue
		}
		to, by := s.Pods(index), s.Node(index)
		err := links.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: network(to), Gw: by.AsSlice()})
		if err != nil {
			return fmt.Errorf("adding the route to %v by %v: %w", to, by, err)
		}
	}
	return nil
}

// Close lets go of the namespaces; they and all that is in them end with the last
// process in them.
func (s *Site) Close() {
	for _, namespace := range s.others {
		namespace.close()
	}
	s.middle.close()
	if s.door != nil {
		// Its other end may be held a moment longer.
		_ = s.host.LinkDel(s.door)
	}
	s.host.Close()
}
