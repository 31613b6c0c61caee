package site

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace that lives as long as this handle or a process
// in it.
type Namespace struct {
	handle netns.NsHandle
	links  *netlink.Handle
}

func newNamespace() (*Namespace, error) {
	type made struct {
		handle netns.NsHandle
		err    error
	}
	done := make(chan made, 1)
	go func() {
		// Never unlocked: the thread ends with this function instead of going on
		// in the wrong namespace.
		runtime.LockOSThread()
		handle, err := netns.New()
		done <- made{handle, err}
	}()
	got := <-done
	if got.err != nil {
		return nil, fmt.Errorf("making a network namespace: %w", got.err)
	}
	links, err := netlink.NewHandleAt(got.handle)
	if err != nil {
		got.handle.Close()
		return nil, fmt.Errorf("talking to a network namespace: %w", err)
	}
	n := &Namespace{handle: got.handle, links: links}
	loopback, err := links.LinkByName("lo")
	if err == nil {
		err = links.LinkSetUp(loopback)
	}
	if err != nil {
		n.close()
		return nil, fmt.Errorf("setting up a loopback: %w", err)
	}
	return n, nil
}

// Enter puts the calling thread into the namespace. It must be locked to its
// goroutine.
func (n *Namespace) Enter() error {
	if err := unix.Setns(int(n.handle), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering a network namespace: %w", err)
	}
	return nil
}

func (n *Namespace) close() {
	n.links.Close()
	n.handle.Close()
}

// setUp gives an interface an address and sets it up.
func setUp(links *netlink.Handle, name string, address *netlink.Addr) (netlink.Link, error) {
	link, err := links.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("finding the interface %s: %w", name, err)
	}
	if address != nil {
		if err := links.AddrAdd(link, address); err != nil {
			return nil, fmt.Errorf("giving %s the address %v: %w", name, address, err)
		}
	}
	if err := links.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("setting up %s: %w", name, err)
	}
	return link, nil
}
