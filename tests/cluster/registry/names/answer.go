// Package names is a DNS server for one zone: every name in it is one address,
// and no other name exists.
package names

import (
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// Mood is how a name is answered.
type Mood string

const (
	// Address is what names of the zone are without being told.
	Address Mood = "address"
	// Absent names do not exist: NXDOMAIN.
	Absent Mood = "absent"
	// Failing names are answered with SERVFAIL.
	Failing Mood = "failing"
	// Silent names are not answered at all.
	Silent Mood = "silent"
)

// ttlSeconds is short, as what a name is may change in the middle of a test.
const ttlSeconds = 1

// maxMoods bounds the names that are set apart.
const maxMoods = 1000

// Zone knows what to answer.
type Zone struct {
	name    string // lower case, without dots around it
	address netip.Addr

	mutex sync.Mutex
	moods map[string]Mood
}

// NewZone makes a zone of one address.
func NewZone(name string, address netip.Addr) *Zone {
	return &Zone{name: strings.ToLower(strings.Trim(name, ".")), address: address, moods: map[string]Mood{}}
}

func (z *Zone) mood(name string) Mood {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	z.mutex.Lock()
	defer z.mutex.Unlock()
	if mood, ok := z.moods[name]; ok {
		return mood
	}
	if name == z.name || strings.HasSuffix(name, "."+z.name) {
		return Address
	}
	return Absent
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
	switch z.mood(question.Name.String()) {
	case Silent:
		return nil
	case Failing:
		reply.RCode = dnsmessage.RCodeServerFailure
	case Absent:
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
