package link

import (
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// inNamespace is set where the test runs in a network namespace of its own.
const inNamespace = "LINK_TEST_IN_NAMESPACE"

// The loopback of a new namespace is an interface like any other, and nobody's.
func TestLimit(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		again := exec.Command(os.Args[0], "-test.run", "^TestLimit$", "-test.v")
		again.Env = append(os.Environ(), inNamespace+"=1")
		again.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		if out, err := again.CombinedOutput(); err != nil {
			if again.ProcessState == nil {
				t.Skipf("this machine makes no namespaces for its users: %v", err)
			}
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	device, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(device); err != nil {
		t.Fatal(err)
	}
	// A packet of the loopback's usual 64 KiB is more than the burst, and is dropped.
	if err := netlink.LinkSetMTU(device, 1500); err != nil {
		t.Fatal(err)
	}
	before, err := Read("lo")
	if err != nil || before.RateBits != 0 {
		t.Fatalf("%+v, %v", before, err)
	}
	const bytes = 1_000_000
	send(t, bytes)
	between, err := Read("lo")
	if err != nil || between.TxBytes-before.TxBytes < bytes || between.RxBytes-before.RxBytes < bytes {
		t.Errorf("from %+v to %+v, %v", before, between, err)
	}
	for _, rate := range []uint64{40_000_000, 20_000_000} {
		state, err := Limit("lo", rate)
		if err != nil || state.RateBits != rate {
			t.Fatalf("%+v, %v", state, err)
		}
		// All but the burst has to wait. Bits taken for bytes would be eight times as long.
		least := time.Duration(float64(bytes-burstBytes) * 8 / float64(rate) * float64(time.Second))
		if took := send(t, bytes); took < least || took > 6*least {
			t.Errorf("%d bytes took %s at %d bits a second, not %s", bytes, took, rate, least)
		}
	}
	for range 2 {
		if state, err := Limit("lo", 0); err != nil || state.RateBits != 0 {
			t.Errorf("%+v, %v", state, err)
		}
	}
	if took := send(t, bytes); took > 380*time.Millisecond {
		t.Errorf("%d bytes took %s without a limit", bytes, took)
	}
}

// send sends bytes over the loopback and returns how long it took.
func send(t *testing.T, bytes int) time.Duration {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		connection, err := listener.Accept()
		if err == nil {
			_, _ = connection.Write(make([]byte, bytes))
			connection.Close()
		}
	}()
	began := time.Now()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if n, err := io.Copy(io.Discard, connection); err != nil || n != int64(bytes) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	return time.Since(began)
}

func TestLimitsAndInterfacesThatCannotBe(t *testing.T) {
	for _, rate := range []uint64{1, minRateBits - 1, maxRateBits + 1} {
		if _, err := Limit("lo", rate); err == nil {
			t.Errorf("a rate of %d was taken", rate)
		}
	}
	if _, err := Read("none"); err == nil {
		t.Error("an interface that there is not was read")
	}
}
