package site

import (
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
}

func newSite(t *testing.T) *Site {
	t.Helper()
	made, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return made
}

func TestSitesSideBySideShareNoAddress(t *testing.T) {
	asRoot(t)
	one, other := newSite(t), newSite(t)
	if one.Host() == other.Host() || one.AllPods().Overlaps(other.AllPods()) || one.Name() == other.Name() {
		t.Errorf("%s has %v, %v; %s has %v, %v",
			one.Name(), one.Host(), one.AllPods(), other.Name(), other.Host(), other.AllPods())
	}
}

// A connection from the registries to the host, and the other way round.
func TestTheHostAndTheRegistriesReachEachOther(t *testing.T) {
	asRoot(t)
	made := newSite(t)
	namespace, err := made.AddRegistry()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort(made.Host().String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with the function
		if err := namespace.Enter(); err != nil {
			dialled <- err
			return
		}
		connection, err := net.Dial("tcp4", listener.Addr().String())
		if err == nil {
			connection.Close()
		}
		dialled <- err
	}()
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	connection, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if from, want := connection.RemoteAddr().String(), made.Registry().String()+":"; !strings.HasPrefix(from, want) {
		t.Errorf("it came from %s, not from %s", from, want)
	}
}

func TestAClosedSiteLeavesNoInterface(t *testing.T) {
	asRoot(t)
	made, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.AddNode(0); err != nil {
		made.Close()
		t.Fatal(err)
	}
	name := made.Name()
	if _, err := netlink.LinkByName(name); err != nil {
		t.Errorf("while it is there: %v", err)
	}
	made.Close()
	if _, err := netlink.LinkByName(name); err == nil {
		t.Errorf("%s is still there", name)
	}
}
