// Package names is a DNS server for one zone: every name in it is one address,
// and no other name exists.
package names

import (
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// Answer is how queries for a name are answered.
type Answer string

const (
	// Address is the default for names of the zone: an A record.
	Address Answer = "address"
	// NXDomain is the default for all other names: they do not exist.
	NXDomain Answer = "nxdomain"
	// ServFail is a server's failure.
	ServFail Answer = "servfail"
	// Timeout is no answer at all.
	Timeout Answer = "timeout"
)

// ttlSeconds is short, as what a name is may change in the middle of a test.
const ttlSeconds = 1

// maxOverrides bounds the names that are answered in another way than by default.
const maxOverrides = 1000

// Zone knows what to answer.
type Zone struct {
	name    string // lower case, without dots around it
	address netip.Addr

	mutex     sync.Mutex
	overrides map[string]Answer
}

// NewZone makes a zone of one address.
func NewZone(name string, address netip.Addr) *Zone {
	return &Zone{name: strings.ToLower(strings.Trim(name, ".")), address: address, overrides: map[string]Answer{}}
}

func (z *Zone) kind(name string) Answer {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	z.mutex.Lock()
	defer z.mutex.Unlock()
	if override, ok := z.overrides[name]; ok {
		return override
	}
	if name == z.name || strings.HasSuffix(name, "."+z.name) {
		return Address
	}
	return NXDomain
}

// answer returns the response to a query, or nil where there is to be none.
// The response also fits a UDP packet of 512 bytes: a question, at most one A record.
func (z *Zone) answer(query []byte) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil || header.Response {
		return nil
	}
	reply := dnsmessage.Header{
		ID: header.ID, Response: true, OpCode: header.OpCode, Authoritative: true,
		RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
	}
	question, err := parser.Question()
	if err != nil {
		reply.RCode = dnsmessage.RCodeFormatError
		return build(reply, nil, nil)
	}
	if header.OpCode != 0 {
		reply.RCode = dnsmessage.RCodeNotImplemented
		return build(reply, &question, nil)
	}
	switch z.kind(question.Name.String()) {
	case Timeout:
		return nil
	case ServFail:
		reply.RCode = dnsmessage.RCodeServerFailure
	case NXDomain:
		reply.RCode = dnsmessage.RCodeNameError
	case Address:
		isZone := strings.EqualFold(strings.Trim(question.Name.String(), "."), z.name)
		if !isZone && question.Class == dnsmessage.ClassINET && question.Type == dnsmessage.TypeA && z.address.Is4() {
			return build(reply, &question, &dnsmessage.AResource{A: z.address.As4()})
		}
	}
	return build(reply, &question, nil)
}

func build(header dnsmessage.Header, question *dnsmessage.Question, address *dnsmessage.AResource) []byte {
	message := dnsmessage.Message{Header: header}
	if question != nil {
		message.Questions = []dnsmessage.Question{*question}
	}
	if address != nil {
		message.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: ttlSeconds},
			Body:   address,
		}}
	}
	packed, err := message.Pack()
	if err != nil {
		return nil
	}
	return packed
}
