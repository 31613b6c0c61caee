// Package link limits what leaves by a network interface, and reads what has
// passed it. It is the tc command's work, done over netlink.
package link

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// As in `tc qdisc add … tbf rate R burst 32kb latency 400ms`.
const (
	burstBytes     = 32 << 10
	latencySeconds = 0.4
	// minRateBits keeps a packet from waiting longer than any test.
	minRateBits = 8_000
	// maxRateBits is where tbf's 32 bits of a queue's length still hold.
	maxRateBits = 10_000_000_000
)

// State is an interface as it is now.
type State struct {
	Interface string `json:"interface"`
	// RateBits is what may leave it, in bits a second; 0: no limit.
	RateBits uint64 `json:"rate_bits"`
	// Bytes that left and came, with all headers, since the interface was made.
	TxBytes uint64 `json:"tx_bytes"`
	RxBytes uint64 `json:"rx_bytes"`
}

// Read tells how an interface is.
func Read(name string) (State, error) {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return State{}, fmt.Errorf("finding interface %s: %w", name, err)
	}
	state := State{Interface: name}
	if counted := device.Attrs().Statistics; counted != nil {
		state.TxBytes, state.RxBytes = counted.TxBytes, counted.RxBytes
	}
	queues, err := netlink.QdiscList(device)
	if err != nil {
		return State{}, fmt.Errorf("listing the queues of %s: %w", name, err)
	}
	for _, queue := range queues {
		if limit, ok := queue.(*netlink.Tbf); ok && limit.Parent == netlink.HANDLE_ROOT {
			state.RateBits = limit.Rate * 8
		}
	}
	return state, nil
}

// Limit sets what may leave by an interface, in bits a second; 0 takes the limit off.
func Limit(name string, rateBits uint64) (State, error) {
	if rateBits != 0 && (rateBits < minRateBits || rateBits > maxRateBits) {
		return State{}, fmt.Errorf("rate_bits is %d; use %d to %d, or 0 for no limit", rateBits, minRateBits, uint64(maxRateBits))
	}
	device, err := netlink.LinkByName(name)
	if err != nil {
		return State{}, fmt.Errorf("finding interface %s: %w", name, err)
	}
	if rateBits == 0 {
		err = removeLimit(device)
	} else {
		rate := rateBits / 8
		err = netlink.QdiscReplace(&netlink.Tbf{
			QdiscAttrs: netlink.QdiscAttrs{
				LinkIndex: device.Attrs().Index,
				Handle:    netlink.MakeHandle(1, 0),
				Parent:    netlink.HANDLE_ROOT,
			},
			Rate:   rate,
			Limit:  uint32(float64(rate)*latencySeconds) + burstBytes,
			Buffer: netlink.Xmittime(rate, burstBytes),
		})
	}
	if err != nil {
		return State{}, fmt.Errorf("limiting %s to %d bits a second: %w", name, rateBits, err)
	}
	return Read(name)
}

func removeLimit(device netlink.Link) error {
	queues, err := netlink.QdiscList(device)
	if err != nil {
		return err
	}
	for _, queue := range queues {
		if limit, ok := queue.(*netlink.Tbf); ok && limit.Parent == netlink.HANDLE_ROOT {
			return netlink.QdiscDel(limit)
		}
	}
	return nil
}
